-- What explains a verdict stood only in findings; a passage that led to none kept its verdict without a reason. NULL where
-- there is nothing to say, so that most rows stay as they were; a column without a default rewrites no chunk, compressed
-- ones included.
ALTER TABLE passage ADD COLUMN explained jsonb;
COMMENT ON COLUMN passage.explained IS
    'reasons, rules_undetermined (rule: missing input), conditions_passed_over, exemption_candidate (year); absent where empty';

-- A recalculation replaces it together with the verdict; the old one is kept as the old verdict is.
ALTER TABLE rejudgement ADD COLUMN explained_before jsonb;
