"""What replies mean, and what becomes of a job."""
