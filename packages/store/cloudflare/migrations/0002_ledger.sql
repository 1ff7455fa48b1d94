-- Made by `shimmy-store ledger migrations`. Steps that were taken never change.
CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY);
INSERT INTO migrations (number) VALUES (2);
ALTER TABLE events ADD COLUMN settled BIGINT;
ALTER TABLE events ADD COLUMN first_heard BIGINT;
ALTER TABLE customers ADD COLUMN erased BIGINT;
ALTER TABLE alarms ADD COLUMN customer TEXT NOT NULL DEFAULT '';
UPDATE alarms SET customer = COALESCE((SELECT customer FROM events WHERE id = subject), '') WHERE code = 'event-parked';
UPDATE alarms SET customer = COALESCE((SELECT customer FROM outbox WHERE key = subject), '') WHERE code = 'message-parked';
CREATE INDEX events_received ON events (received);
CREATE INDEX events_settled ON events (settled);
CREATE INDEX outbox_sent ON outbox (sent);
CREATE INDEX alarms_of_customers ON alarms (customer);
