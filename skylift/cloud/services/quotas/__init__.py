"""Service Quotas: the quotas of the account that launches are refused by."""
