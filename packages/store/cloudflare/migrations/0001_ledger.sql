-- Made by `shimmy-store ledger migrations`. Steps that were taken never change.
CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY);
INSERT INTO migrations (number) VALUES (1);
CREATE TABLE events (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, customer TEXT NOT NULL, payment TEXT NOT NULL, created BIGINT NOT NULL, received BIGINT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, known_to TEXT NOT NULL DEFAULT '', again BIGINT NOT NULL, error TEXT, body TEXT NOT NULL);
CREATE INDEX events_due ON events (state, again);
CREATE INDEX events_of_customers ON events (customer, state);
CREATE TABLE customers (customer TEXT PRIMARY KEY, origin TEXT, settled BIGINT, email TEXT NOT NULL DEFAULT '', email_folded TEXT NOT NULL DEFAULT '', plan TEXT, changes INTEGER NOT NULL DEFAULT 0, merged_into TEXT NOT NULL DEFAULT '', given_up TEXT NOT NULL DEFAULT '', look_again BIGINT, lease_token TEXT NOT NULL DEFAULT '', lease_until BIGINT NOT NULL DEFAULT 0);
CREATE INDEX customers_by_email ON customers (email_folded);
CREATE INDEX customers_merged ON customers (merged_into);
CREATE INDEX customers_to_look_at ON customers (look_again);
CREATE TABLE outbox (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, kind TEXT NOT NULL, facts TEXT NOT NULL, added BIGINT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', sent BIGINT, attempts INTEGER NOT NULL DEFAULT 0, again BIGINT NOT NULL DEFAULT 0, error TEXT);
CREATE INDEX outbox_due ON outbox (state, again);
CREATE INDEX outbox_of_customers ON outbox (customer, state);
CREATE TABLE alarms (number INTEGER PRIMARY KEY, code TEXT NOT NULL, subject TEXT NOT NULL, raised BIGINT NOT NULL, acknowledged BIGINT, UNIQUE (code, subject));
CREATE TABLE links (id TEXT PRIMARY KEY, kind TEXT NOT NULL, customers TEXT NOT NULL, browser TEXT NOT NULL, expires BIGINT NOT NULL, used BIGINT, mailbox TEXT NOT NULL DEFAULT '');
CREATE TABLE tries (name TEXT NOT NULL, period BIGINT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (name, period));
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
