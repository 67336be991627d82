-- Every byte that was acknowledged is somewhere, also where a reading came in more bytes than its own, or in others.

-- What the packet came in, whole, where frames and noise alone do not make up its bytes: hex text, a JSON document around it,
-- filling between frames. Of several packets that came in one, the first has it.
ALTER TABLE terminal_packet ADD COLUMN wrapper bytea;

-- First eight bytes of the SHA-256 of `passage.raw`: a passage that comes again with the same content in other bytes is put
-- aside as `respelled`. NULL for what was stored before there was this column.
ALTER TABLE passage_key ADD COLUMN raw_digest int8;
