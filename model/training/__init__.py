"""The network, the phases of its training, and the folder from which an interrupted training resumes."""
