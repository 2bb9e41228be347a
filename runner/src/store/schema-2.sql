-- Who used the lease first, and is the only one who may. None in a row of an older dcp: the next one who uses it.
ALTER TABLE runner_fences ADD COLUMN created_by TEXT;
