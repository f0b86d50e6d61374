"""The way to AWS: signed requests, the job's prefix in S3, and the end of other servers."""
