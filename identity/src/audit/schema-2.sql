-- The person for whom a service acted.
ALTER TABLE audit_entries ADD COLUMN on_behalf_of TEXT;
