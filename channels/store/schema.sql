-- The store's schema as the first release made it; migrations.py leads on from here. What must never happen is refused
-- here, so that no other writer of this file can do it either.
-- The texts of an existing version never change: an open compares them with the file's, to see that no guard is missing.

PRAGMA application_id = 0x4f504348; -- "OPCH"
PRAGMA user_version = 1;

-- One row per record, in the order of `position` over all channels and of `seq` within one.
-- `version` (big-endian, because SQLite's integers are signed) and `digest` belong to the state in the record, if any.
-- `link` is keccak256(link of the row before ‖ kind ‖ version ‖ digest ‖ body).
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    channel BLOB NOT NULL CHECK (length(channel) = 32),
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 255),
    version BLOB CHECK (length(version) = 8),
    digest BLOB CHECK (length(digest) = 32),
    body BLOB NOT NULL,
    link BLOB NOT NULL CHECK (length(link) = 32),
    CHECK (kind <> 3 OR (version IS NOT NULL AND digest IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX journal_order ON journal (channel, seq);

-- A version is signed once. Kind 3 is Signed.
CREATE UNIQUE INDEX sign_once ON journal (channel, version) WHERE kind = 3;

-- INSERT OR REPLACE would delete the row in its way without asking the delete trigger: so it is refused before.
CREATE TRIGGER journal_signs_once BEFORE INSERT ON journal
WHEN NEW.kind = 3 AND EXISTS (SELECT 1 FROM journal WHERE channel = NEW.channel AND version = NEW.version AND kind = 3)
BEGIN
    SELECT RAISE(ABORT, 'journal: version already signed');
END;

CREATE TRIGGER journal_has_no_gaps BEFORE INSERT ON journal
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM journal WHERE channel = NEW.channel)
    OR EXISTS (SELECT 1 FROM journal WHERE position = NEW.position)
BEGIN
    SELECT RAISE(ABORT, 'journal: not the next record');
END;

CREATE TRIGGER journal_never_changes BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'journal: append only');
END;

CREATE TRIGGER journal_never_forgets BEFORE DELETE ON journal
BEGIN
    SELECT RAISE(ABORT, 'journal: append only');
END;

-- The last block whose facts are in the journal, per adjudicator.
CREATE TABLE cursor (
    chain_id BLOB NOT NULL CHECK (length(chain_id) = 32),
    adjudicator BLOB NOT NULL CHECK (length(adjudicator) = 20),
    block INTEGER NOT NULL CHECK (block >= 0),
    PRIMARY KEY (chain_id, adjudicator)
) STRICT;

CREATE TRIGGER cursor_is_placed_once BEFORE INSERT ON cursor
WHEN EXISTS (SELECT 1 FROM cursor WHERE chain_id = NEW.chain_id AND adjudicator = NEW.adjudicator)
    OR EXISTS (SELECT 1 FROM cursor WHERE rowid = NEW.rowid)
BEGIN
    SELECT RAISE(ABORT, 'cursor: already placed');
END;

CREATE TRIGGER cursor_never_goes_back BEFORE UPDATE ON cursor
WHEN NEW.block < OLD.block OR NEW.rowid <> OLD.rowid
    OR NEW.chain_id <> OLD.chain_id OR NEW.adjudicator <> OLD.adjudicator
BEGIN
    SELECT RAISE(ABORT, 'cursor: never backwards');
END;

CREATE TRIGGER cursor_never_forgets BEFORE DELETE ON cursor
BEGIN
    SELECT RAISE(ABORT, 'cursor: never backwards');
END;
