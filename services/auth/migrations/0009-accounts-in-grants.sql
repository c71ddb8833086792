-- Service accounts get grants too, of themselves and as members of groups.

ALTER TABLE role_grants
    DROP CONSTRAINT role_grants_subject_kind_check,
    ADD CONSTRAINT role_grants_subject_kind_check CHECK (subject_kind IN ('user', 'group', 'key', 'account'));

CREATE TABLE group_accounts (
    group_id   text NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    account_id text NOT NULL REFERENCES service_accounts (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, account_id)
);
CREATE INDEX group_accounts_of ON group_accounts (account_id);

-- Users and service accounts, whose ids are never the same.
CREATE VIEW members_of_groups AS
SELECT group_id, user_id AS member_id FROM group_members
UNION ALL SELECT group_id, account_id FROM group_accounts;
