"""The main file of the Dataflow Flex Template: `scenetags predict`, with the template's parameters as its flags.

The launcher runs a file. A file in `pipelines/` would put that folder first on Python's path and be the module
`__main__`, whose classes a worker cannot find.
"""

import sys

from pipelines.predict import main

if __name__ == "__main__":
    sys.exit(main())
