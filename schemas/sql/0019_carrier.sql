-- Which vehicle carried the plate of a reading over a limit, as the register told when it was judged: a plate that went to
-- another vehicle between two tests makes no series of them. NULL for any other reading, and where the register told nothing.
ALTER TABLE passage_key ADD COLUMN carrier int8;
COMMENT ON COLUMN passage_key.carrier IS
    '-1 the plate was read with O or I and folded, so that it is not sure whose reading this is; '
    'otherwise the lowest 20 bits: day of registration, days since 1970-01-01 plus 100000, 0 unknown; '
    'above them 43 bits of the hash of the VIN, 0 unknown (src/vehicle/carrier.rs)';
COMMENT ON COLUMN passage.flags IS
    'bit 0 station unknown, 1 plate unread, 2 unknown fields in the payload, 3 not live, 4 of another place, '
    '5 plate perhaps misread from a listed one, 6 fuel unknown and diesel suspected, 7 plate read with O or I and folded';
