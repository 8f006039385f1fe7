"""Run a job, in waves on this machine or on the workers of a distributed runner."""
