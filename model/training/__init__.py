"""The network, the phases of its training, and the folder from which interrupted training resumes."""
