-- A table is replaced.
CREATE TABLE narrow_new (LIKE narrow INCLUDING ALL);
INSERT INTO narrow_new SELECT * FROM narrow;
ALTER TABLE narrow RENAME TO narrow_old;
ALTER TABLE narrow_new RENAME TO narrow;
TRUNCATE narrow;
DROP TABLE narrow_old;

ALTER TABLE narrow RENAME TO swapped;
ALTER TABLE compared RENAME TO narrow;
ALTER TABLE swapped RENAME TO compared;
TRUNCATE narrow;
LOCK TABLE compared IN SHARE MODE;

ALTER TABLE plain RENAME TO simple;
ALTER TABLE simple ALTER e TYPE bigint;
CREATE VIEW plain AS SELECT id FROM simple;
LOCK TABLE plain IN SHARE MODE;

-- What names mean.
SET search_path = archive, public;
ALTER TABLE things ADD COLUMN x int;
RESET search_path;
ALTER TABLE plain ADD COLUMN x int;

SELECT set_config('search_path', 'archive, public', true);
TRUNCATE things;
SELECT nextval('numbers');
SET search_path TO DEFAULT;
TRUNCATE narrow;

SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.dumped (id integer NOT NULL, e integer);
ALTER TABLE ONLY public.dumped ADD CONSTRAINT dumped_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.dumped ADD CONSTRAINT dumped_e_fkey FOREIGN KEY (e) REFERENCES public.plain(e);
SELECT pg_catalog.setval('public.free_numbers', 5, true);

SET search_path = "Mixed Case", public;
ALTER TABLE "Child" ADD COLUMN x int;
RESET ALL;
ALTER TABLE plain ADD COLUMN x int;

SET search_path = public, pg_temp;
CREATE TEMP TABLE narrow (id int);
ALTER TABLE narrow ADD COLUMN z int;
DROP TABLE pg_temp.narrow;

SET search_path = archive;
ALTER TYPE size RENAME TO sizes;
ALTER DOMAIN public.small_positive ADD CHECK (VALUE <> 998);
DROP TYPE sizes CASCADE;

SET ROLE clerk;
SET search_path = "$user", public;
ALTER TABLE clerk_notes ADD COLUMN x int;
RESET ROLE;
ALTER TABLE plain ADD COLUMN x int;

-- Schemas.
ALTER SCHEMA archive RENAME TO attic;
ALTER TABLE attic.things ADD COLUMN x int;
SET search_path = attic, public;
TRUNCATE old_orders CASCADE;

ALTER SCHEMA archive RENAME TO attic;
CREATE SCHEMA archive;
CREATE TABLE archive.things (id int);
ALTER TABLE archive.things ADD COLUMN x int;
DROP SCHEMA attic CASCADE;

CREATE SCHEMA fresh;
SET search_path = fresh, public;
CREATE TABLE plain (id int PRIMARY KEY);
CREATE TABLE refers (b int REFERENCES plain);
ALTER TABLE plain ADD COLUMN x int;
DROP TABLE refers;

CREATE SCHEMA fresh CREATE TABLE plain (a int) CREATE VIEW v AS SELECT plain.a, b FROM plain, narrow;
SET search_path = fresh;
LOCK TABLE v IN SHARE MODE;
ALTER TABLE plain ADD COLUMN n int;

CREATE SCHEMA fresh AUTHORIZATION clerk;
ALTER TABLE narrow SET SCHEMA fresh;
ALTER INDEX fresh.narrow_a RENAME TO narrow_1;
DROP SCHEMA fresh CASCADE;

DROP SCHEMA archive CASCADE;
CREATE SCHEMA archive;
SET search_path = archive, public;
CREATE TABLE things (id int);
ALTER TABLE things ADD x int;
ALTER TABLE plain ADD x int;

ALTER MATERIALIZED VIEW sales SET SCHEMA archive;
REFRESH MATERIALIZED VIEW CONCURRENTLY archive.sales;
ALTER INDEX archive.sales_customer RENAME TO s;

-- Foreign keys of tables that are made here, or of those that exist.
CREATE TABLE made (id int PRIMARY KEY, customer int REFERENCES customers);
ALTER TABLE made RENAME TO remade;
DROP TABLE remade;

CREATE TABLE made (id int PRIMARY KEY);
ALTER TABLE narrow ADD CONSTRAINT f FOREIGN KEY (c) REFERENCES made NOT VALID;
ALTER TABLE made RENAME TO remade;
DROP TABLE remade CASCADE;

CREATE TABLE made (a int REFERENCES customers, b int REFERENCES products);
ALTER TABLE made SET SCHEMA archive;
ALTER TABLE archive.made DROP CONSTRAINT made_a_fkey;
ALTER TABLE archive.made DROP COLUMN b;

CREATE TABLE made (id int, h int);
ALTER TABLE made ADD CONSTRAINT q FOREIGN KEY (h) REFERENCES customers NOT VALID;
ALTER TABLE made RENAME CONSTRAINT q TO r;
ALTER TABLE made VALIDATE CONSTRAINT r;
ALTER TABLE made DROP CONSTRAINT r;

ALTER TABLE tickets ADD COLUMN customer int CONSTRAINT ours REFERENCES customers DEFERRABLE INITIALLY DEFERRED;
SET CONSTRAINTS ours IMMEDIATE;
CREATE INDEX tickets_customer ON tickets (customer);
ALTER TABLE tickets DROP COLUMN customer CASCADE;

ALTER TABLE bookings ADD COLUMN o int REFERENCES categories;
ALTER TABLE bookings ALTER COLUMN o TYPE bigint;

ALTER TABLE bookings ADD CONSTRAINT b FOREIGN KEY (room) REFERENCES categories NOT VALID;
ALTER TABLE bookings RENAME CONSTRAINT b TO bb;
ALTER TABLE bookings VALIDATE CONSTRAINT bb;

ALTER TABLE compared ADD CONSTRAINT by_e FOREIGN KEY (a) REFERENCES plain (e);
DROP INDEX plain_e CASCADE;

-- Parts are called otherwise.
ALTER TABLE stock RENAME CONSTRAINT stock_product_fkey TO p;
ALTER TABLE stock DROP CONSTRAINT p;

ALTER TRIGGER customers_touch ON customers RENAME TO t;
DROP TRIGGER t ON customers;

ALTER TABLE narrow RENAME COLUMN b TO bb;
ALTER TABLE narrow DROP COLUMN bb;

ALTER POLICY members_read ON documents RENAME TO p;
DROP POLICY p ON documents;

-- Indexes and triggers that are made here.
CREATE INDEX made ON narrow (c);
ALTER INDEX made RENAME TO remade;
DROP INDEX remade;

CREATE INDEX made ON orders (remark);
DROP INDEX made;

CREATE TRIGGER made BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION touch();
DROP TRIGGER made ON plain;

CREATE TRIGGER made AFTER UPDATE ON events FOR EACH ROW EXECUTE FUNCTION touch();
DROP TRIGGER made ON events;

CREATE FUNCTION made() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER made BEFORE UPDATE ON vehicles FOR EACH ROW EXECUTE FUNCTION made();
DROP FUNCTION made() CASCADE;

-- Views that are made here.
CREATE VIEW made AS SELECT * FROM vehicles;
CREATE VIEW remade AS SELECT made.id FROM made, narrow;
LOCK TABLE remade IN SHARE MODE;
DROP VIEW made CASCADE;

CREATE OR REPLACE VIEW plain_rows AS SELECT a AS id, b AS a, 'x'::text AS b FROM narrow;
CREATE VIEW made AS SELECT * FROM plain_rows;
LOCK TABLE made IN SHARE MODE;

CREATE MATERIALIZED VIEW made AS SELECT * FROM customer_greetings, plain WITH NO DATA;
CREATE UNIQUE INDEX ON made (id, greeting);
REFRESH MATERIALIZED VIEW made;

DROP VIEW customer_names CASCADE;
CREATE VIEW customer_names AS SELECT id, name FROM customers;
CREATE VIEW customer_greetings AS SELECT name FROM customer_names;
SELECT * FROM customer_greetings;

-- Partitions.
CREATE TABLE made PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
ALTER TABLE orders DETACH PARTITION made;
DROP TABLE made;

CREATE TABLE made PARTITION OF events_2023 FOR VALUES IN ('view');
ALTER TABLE events_2023 DETACH PARTITION made;
ALTER TABLE events_2023 ADD CHECK (id > 0);

ALTER TABLE events DETACH PARTITION events_2024;
ALTER TABLE events_2024 RENAME TO events_of_2024;
ALTER TABLE events ATTACH PARTITION events_of_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
DROP TABLE events;

ALTER TABLE readings DETACH PARTITION readings_a;
ALTER TABLE readings ADD COLUMN x int;
DROP TABLE readings;
SELECT * FROM readings_a;

-- Types.
ALTER TYPE mood RENAME TO moods;
ALTER TYPE moods ADD VALUE 'great';
DROP TYPE moods CASCADE;

ALTER DOMAIN small_positive SET SCHEMA archive;
ALTER DOMAIN archive.small_positive RENAME TO little;
ALTER DOMAIN archive.little ADD CHECK (VALUE <> 998);

ALTER TYPE lonely_type SET SCHEMA archive;
ALTER TYPE archive.lonely_type OWNER TO clerk;

ALTER TYPE address RENAME TO addresses;
ALTER TYPE addresses RENAME ATTRIBUTE zip TO code;
ALTER TYPE addresses OWNER TO clerk;

ALTER SCHEMA archive RENAME TO attic;
ALTER TYPE attic.size RENAME TO sizes;
DROP TYPE attic.sizes CASCADE;

CREATE DOMAIN made AS int CHECK (VALUE < 100);
ALTER TABLE narrow ADD COLUMN m made;
DROP DOMAIN made CASCADE;

CREATE TYPE made AS (x int, y address);
CREATE TABLE of_made OF made;
ALTER TYPE made ADD ATTRIBUTE q home CASCADE;
DROP TYPE made CASCADE;

-- As tools write them.
CREATE TABLE "made_x" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "product_id" integer NOT NULL);
ALTER TABLE "made_x" ADD CONSTRAINT "made_x_product_id_fk" FOREIGN KEY ("product_id") REFERENCES "products" ("id") DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX "made_x_product_id" ON "made_x" ("product_id");
SET CONSTRAINTS "made_x_product_id_fk" IMMEDIATE;
ALTER TABLE "made_x" DROP CONSTRAINT "made_x_product_id_fk";

SELECT setval(pg_get_serial_sequence('"products"','id'), coalesce(max("id"), 1), max("id") IS NOT null) FROM "products";
ALTER TABLE "products" ALTER COLUMN "weight" TYPE bigint USING "weight"::bigint;

CREATE TABLE version (num varchar(32) NOT NULL, CONSTRAINT version_pkc PRIMARY KEY (num));
ALTER TABLE bookings ADD COLUMN customer_id integer;
ALTER TABLE bookings ADD CONSTRAINT fk_customer FOREIGN KEY (customer_id) REFERENCES customers (id) NOT VALID;
ALTER TABLE bookings VALIDATE CONSTRAINT fk_customer;
CREATE INDEX index_bookings_on_customer_id ON bookings (customer_id);
INSERT INTO version VALUES ('1');

CREATE TABLE history (LIKE letters INCLUDING DEFAULTS);
WITH moved AS (DELETE FROM letters RETURNING *) INSERT INTO history SELECT * FROM moved;
ALTER TABLE history SET SCHEMA archive;
DROP TABLE archive.history;

BEGIN;
SAVEPOINT a;
ALTER TYPE address RENAME TO addresses;
ROLLBACK TO a;
ALTER TYPE address OWNER TO clerk;
