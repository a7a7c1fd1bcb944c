CREATE TABLE made (a int);

CREATE TABLE IF NOT EXISTS plain (a int);

CREATE TABLE IF NOT EXISTS made (a int PRIMARY KEY);

CREATE TABLE made (id serial PRIMARY KEY, customer int REFERENCES customers, t text);

CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, boss int REFERENCES made (key), key int UNIQUE);

CREATE TABLE made (order_id bigint, placed date, FOREIGN KEY (order_id, placed) REFERENCES orders);

CREATE TABLE made (a text, b int, FOREIGN KEY (a, b) REFERENCES warehouses ON DELETE SET NULL);

CREATE TABLE made (a int REFERENCES products ON DELETE CASCADE, b int REFERENCES customers, c int REFERENCES visits);

CREATE TABLE made (a int REFERENCES visits) PARTITION BY LIST (a);

CREATE TABLE made (extra int) INHERITS (vehicles);

CREATE TABLE made () INHERITS (cars, boats);

CREATE TABLE made (id int REFERENCES customers) INHERITS (old_things);

CREATE TABLE made PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

-- fails: it would overlap
CREATE TABLE made PARTITION OF order_items FOR VALUES FROM ('2023-01-01') TO ('2023-02-01');

CREATE TABLE made PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id);

CREATE TABLE made PARTITION OF events_2023 FOR VALUES IN ('scroll');

CREATE TABLE made PARTITION OF readings FOR VALUES IN ('e');

CREATE TABLE made PARTITION OF readings DEFAULT;

CREATE TABLE made PARTITION OF empty_parent FOR VALUES FROM (1) TO (5);

CREATE TABLE made PARTITION OF empty_parent (b CHECK (b <> ''), PRIMARY KEY (a)) DEFAULT;

CREATE TABLE IF NOT EXISTS made PARTITION OF empty_parent DEFAULT;

CREATE TABLE IF NOT EXISTS orders_2023 PARTITION OF orders DEFAULT;

CREATE TABLE made (LIKE plain);

CREATE TABLE made (LIKE plain INCLUDING ALL);

CREATE TABLE made (LIKE customers INCLUDING ALL);

CREATE TABLE made (LIKE customers INCLUDING INDEXES INCLUDING STATISTICS, LIKE narrow);

CREATE TABLE made (LIKE customer_names);

CREATE TABLE made (LIKE orders INCLUDING ALL);

CREATE TABLE made (LIKE products INCLUDING DEFAULTS);

CREATE TABLE made (LIKE sales);

CREATE TABLE made (LIKE address);

CREATE TABLE made OF person;

CREATE TABLE made OF person (PRIMARY KEY (name), born DEFAULT now());

CREATE TABLE made (a positive, b mood, c address, d customers);

CREATE TABLE made (a int DEFAULT nextval('free_numbers'), b text DEFAULT next_code());

CREATE TABLE made (a int CHECK (is_sane(a)));

CREATE TEMP TABLE made (a int);

-- fails: it refers to itself
CREATE TEMP TABLE plain (a int REFERENCES plain);

CREATE TEMP TABLE made ON COMMIT DROP AS SELECT * FROM plain;

CREATE UNLOGGED TABLE made (a int);

CREATE UNLOGGED TABLE made (a int REFERENCES customers);

CREATE TABLE archive.made (a int REFERENCES archive.old_orders);

CREATE TABLE made (a int) TABLESPACE depot;

-- fails: no such operator class
CREATE TABLE made (EXCLUDE USING gist (p WITH &&), p point);

CREATE TABLE made AS SELECT * FROM plain;

CREATE TABLE made AS SELECT * FROM plain WITH NO DATA;

CREATE TABLE made AS TABLE customers;

CREATE TABLE made AS SELECT name FROM customer_names;

CREATE TABLE made AS SELECT a, count(*) FROM narrow JOIN plain USING (a) GROUP BY a;

CREATE TABLE IF NOT EXISTS plain AS SELECT * FROM narrow;

CREATE TABLE made AS WITH x AS (SELECT * FROM narrow) SELECT * FROM x;

CREATE TABLE made (a, b) AS VALUES (1, 2);

CREATE TABLE made AS SELECT * FROM orders;

CREATE TABLE made AS SELECT nextval('free_numbers');

SELECT * INTO made FROM plain;

CREATE FOREIGN TABLE made (a int) SERVER far_away;

CREATE FOREIGN TABLE made (b int) INHERITS (old_things) SERVER far_away;

CREATE FOREIGN TABLE made PARTITION OF empty_parent DEFAULT SERVER far_away;

CREATE INDEX ON plain (b);

CREATE INDEX made ON plain (a, b) INCLUDE (c) WHERE a > 0;

CREATE INDEX IF NOT EXISTS plain_a ON plain (a);

CREATE UNIQUE INDEX made ON plain (id, a);

CREATE UNIQUE INDEX made ON plain (b) NULLS NOT DISTINCT WHERE id < 2;

CREATE INDEX ON plain USING hash (a);

CREATE INDEX ON plain (fold(b));

CREATE INDEX ON customers (feels);

CREATE INDEX ON orders (remark);

CREATE INDEX ON orders (customer, total);

CREATE INDEX ON ONLY orders (remark);

CREATE INDEX ON orders_2023 (remark);

CREATE UNIQUE INDEX ON orders (id, placed);

CREATE INDEX ON events (data);

CREATE INDEX ON ONLY events (data);

CREATE INDEX ON events_2023 (data);

CREATE INDEX ON empty_parent (b);

CREATE INDEX ON sales (total);

CREATE INDEX ON vehicles (wheels);

CREATE INDEX ON readings USING brin (at);

CREATE INDEX ON "Mixed Case"."Odd Table" (lower("Some Text"));

CREATE INDEX ON archive.things (a) TABLESPACE depot;

CREATE INDEX ON scratch (what);

CREATE INDEX ON bookings USING gist (during);

CREATE INDEX ON staff (born);

CREATE INDEX ON parcels (lower(code), size);

CREATE INDEX ON parcels ((upper(code)), size);

CREATE INDEX ON parcels (size, lower(code));

CREATE INDEX ON parcels (lower(note)) WHERE size > 3;

CREATE INDEX ON parcels (lower(note));

CREATE INDEX ON parcels USING hash (code);

CREATE INDEX ON parcels (code text_pattern_ops);

CREATE INDEX ON parcels (code COLLATE german);

CREATE INDEX ON parcels (code);

CREATE INDEX ON parcels ((code)) INCLUDE (size);

CREATE INDEX ON parcels (size);

CREATE INDEX ON parcels (size) WHERE code IS NOT NULL;

CREATE INDEX ON parcels_new (size DESC, code);

CREATE INDEX IF NOT EXISTS parcels_old_code ON parcels (code, size);

CREATE INDEX IF NOT EXISTS parcels_old_code ON ONLY parcels (code, size);

CREATE TRIGGER made BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION touch();

CREATE TRIGGER made AFTER UPDATE OF a ON plain FOR EACH ROW WHEN (OLD.a > NEW.a) EXECUTE FUNCTION note();

CREATE TRIGGER made AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();

CREATE TRIGGER made AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION note();

CREATE TRIGGER made BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch();

CREATE TRIGGER made AFTER INSERT ON orders REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note();

CREATE TRIGGER made INSTEAD OF UPDATE ON customer_names FOR EACH ROW EXECUTE FUNCTION touch();

CREATE OR REPLACE TRIGGER customers_touch BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch();

CREATE OR REPLACE TRIGGER orders_touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();

CREATE CONSTRAINT TRIGGER made AFTER INSERT ON plain DEFERRABLE FOR EACH ROW EXECUTE FUNCTION note();

CREATE CONSTRAINT TRIGGER made AFTER INSERT ON plain FROM customers FOR EACH ROW EXECUTE FUNCTION note();

CREATE CONSTRAINT TRIGGER made AFTER INSERT ON plain FROM narrow FOR EACH ROW EXECUTE FUNCTION note();
DROP TABLE narrow CASCADE;

CREATE TRIGGER made BEFORE TRUNCATE ON vehicles EXECUTE FUNCTION note();

CREATE TRIGGER made AFTER INSERT ON vehicles FOR EACH ROW EXECUTE FUNCTION note();

CREATE TRIGGER made AFTER DELETE ON remote FOR EACH ROW EXECUTE FUNCTION note();

CREATE RULE made AS ON INSERT TO plain DO ALSO INSERT INTO audit_log (what) VALUES (NEW.b);

CREATE RULE made AS ON UPDATE TO plain WHERE NEW.a > 0 DO ALSO DELETE FROM narrow;

CREATE RULE made AS ON UPDATE TO plain DO ALSO NOTIFY changed;

CREATE RULE made AS ON DELETE TO plain DO ALSO (DELETE FROM narrow WHERE a = OLD.id; UPDATE categories SET title = 'x' WHERE id = OLD.id);

CREATE OR REPLACE RULE invoices_log AS ON INSERT TO invoices DO ALSO NOTHING;

CREATE RULE made AS ON INSERT TO customer_names DO INSTEAD INSERT INTO customers (name) VALUES (NEW.name);

CREATE RULE made AS ON UPDATE TO lonely_view DO INSTEAD SELECT * FROM customer_names;

CREATE RULE made AS ON UPDATE TO lonely_view WHERE EXISTS (SELECT FROM staff) DO INSTEAD NOTHING;

-- 15 only
CREATE RULE "_RETURN" AS ON SELECT TO lonely_table DO INSTEAD SELECT a FROM narrow;

CREATE RULE made AS ON INSERT TO plain DO ALSO SELECT nextval('free_numbers');

CREATE POLICY made ON plain USING (true);

CREATE POLICY made ON documents FOR INSERT WITH CHECK (EXISTS (SELECT FROM memberships m WHERE m.document = id));

CREATE POLICY made ON plain TO clerk USING (a IN (SELECT a FROM narrow)) WITH CHECK (b IN (SELECT name FROM customer_names));

CREATE POLICY made ON orders USING (customer = (SELECT max(id) FROM customers));

CREATE STATISTICS made ON a, b FROM plain;

CREATE STATISTICS made (ndistinct) ON (a + 1), b FROM plain;

CREATE STATISTICS IF NOT EXISTS customers_stats ON name, email FROM customers;

CREATE STATISTICS made ON id, at FROM events;

CREATE STATISTICS made ON customer, total FROM sales;

CREATE VIEW made AS SELECT * FROM plain;

CREATE VIEW made AS SELECT * FROM customer_greetings;

CREATE VIEW made AS SELECT 1 AS one;

CREATE VIEW made AS SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE EXISTS (SELECT FROM refunds);

CREATE VIEW made AS SELECT nextval('free_numbers') AS n, 'plain'::regclass AS r;

CREATE VIEW made AS SELECT last_value FROM free_numbers;

CREATE TEMP VIEW made AS SELECT * FROM plain;

CREATE RECURSIVE VIEW made (id) AS SELECT id FROM categories WHERE parent IS NULL UNION ALL SELECT c.id FROM categories c JOIN made m ON c.parent = m.id;

CREATE OR REPLACE VIEW made AS SELECT * FROM plain;

CREATE OR REPLACE VIEW lonely_view AS SELECT 1 AS a, 'y'::text AS b;

CREATE OR REPLACE VIEW lonely_view AS SELECT a, b::text FROM narrow;

CREATE OR REPLACE VIEW customer_names AS SELECT id, name, email FROM customers;

CREATE OR REPLACE VIEW customer_names AS SELECT id, title::text AS name FROM categories;

CREATE OR REPLACE VIEW customer_names WITH (security_invoker = true) AS SELECT id, name FROM customers WHERE id > 1;

-- fails: a view has none
CREATE VIEW made AS SELECT * FROM archive.customer_orders WITH NO DATA;

CREATE VIEW made AS SELECT id FROM plain WITH LOCAL CHECK OPTION;

CREATE VIEW made AS SELECT * FROM orders;

CREATE MATERIALIZED VIEW made AS SELECT * FROM plain;

CREATE MATERIALIZED VIEW made AS SELECT * FROM plain WITH NO DATA;

CREATE MATERIALIZED VIEW made AS SELECT * FROM sales;

CREATE MATERIALIZED VIEW IF NOT EXISTS sales AS SELECT 1 AS a;

CREATE MATERIALIZED VIEW IF NOT EXISTS made AS SELECT count(*) FROM narrow;

CREATE SEQUENCE made;

CREATE SEQUENCE IF NOT EXISTS free_numbers;

CREATE SEQUENCE made OWNED BY plain.id;

CREATE SEQUENCE made AS smallint OWNED BY NONE;

CREATE TEMP SEQUENCE made;

CREATE SCHEMA made;

CREATE SCHEMA IF NOT EXISTS archive;

CREATE SCHEMA made AUTHORIZATION clerk;

CREATE SCHEMA made CREATE TABLE t (a int REFERENCES public.customers) CREATE VIEW v AS SELECT a FROM t CREATE INDEX i ON t (a);

CREATE SCHEMA made CREATE VIEW v AS SELECT id FROM public.plain;

CREATE SCHEMA made CREATE VIEW v AS SELECT * FROM plain CREATE INDEX ON plain (a) CREATE TABLE plain (a int REFERENCES narrow (b));

CREATE TYPE made AS (a int, b customers);

CREATE TYPE made AS ENUM ('a');

CREATE DOMAIN made AS positive CHECK (VALUE < 5);

CREATE FUNCTION made() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;

CREATE FUNCTION made() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM plain $$;

CREATE FUNCTION made() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM plain; END;

CREATE FUNCTION made() RETURNS SETOF text LANGUAGE sql AS $$ SELECT greeting FROM customer_greetings $$;

CREATE FUNCTION made() RETURNS bigint RETURN (SELECT count(*) FROM archive.customer_orders);

CREATE FUNCTION made() RETURNS void LANGUAGE sql AS $$ UPDATE plain_rows SET a = 1; DELETE FROM invoices $$;

CREATE FUNCTION made() RETURNS void BEGIN ATOMIC INSERT INTO writable (title) VALUES ('x'); DELETE FROM customer_names; END;

CREATE FUNCTION made() RETURNS void LANGUAGE sql AS $$ SELECT FROM customer_greetings FOR UPDATE $$;

CREATE FUNCTION made() RETURNS int LANGUAGE sql SET search_path = archive SET work_mem = '1MB' AS $$ SELECT a FROM things $$;

CREATE FUNCTION made(anyelement) RETURNS anyelement LANGUAGE sql AS $$ SELECT $1 FROM plain $$;

SET LOCAL check_function_bodies = off;
CREATE FUNCTION made() RETURNS int LANGUAGE sql AS $$ SELECT no_such_column FROM plain $$;
CREATE FUNCTION made(int) RETURNS bigint RETURN (SELECT count(*) FROM customer_names);
SET LOCAL check_function_bodies = on;
CREATE FUNCTION made(text) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM taxed $$;

CREATE FUNCTION made(p customers) RETURNS SETOF plain LANGUAGE sql AS $$ SELECT * FROM plain $$;

CREATE FUNCTION made() RETURNS plain.a%TYPE LANGUAGE sql AS $$ SELECT 1 $$;

CREATE FUNCTION made() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM plain; RETURN NEW; END $$;

CREATE OR REPLACE FUNCTION fold(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$;

CREATE PROCEDURE made() LANGUAGE plpgsql AS $$ BEGIN DROP TABLE plain; END $$;

CREATE PUBLICATION made;

CREATE PUBLICATION made FOR TABLE plain, customers;

CREATE PUBLICATION made FOR TABLE orders;

CREATE PUBLICATION made FOR TABLE vehicles;

CREATE PUBLICATION made FOR TABLE ONLY vehicles, narrow WHERE (a > 0);

CREATE PUBLICATION made FOR TABLE events_2024 (id, at), orders_2023;

CREATE PUBLICATION made FOR ALL TABLES;

CREATE PUBLICATION made FOR TABLES IN SCHEMA archive, "Mixed Case";

CREATE PUBLICATION made FOR TABLE plain, TABLES IN SCHEMA archive;

CREATE COLLATION made FROM "C";

CREATE CAST (mood AS int) WITH INOUT;

CREATE AGGREGATE made (int) (SFUNC = int4pl, STYPE = int);

CREATE ROLE made;

CREATE SERVER made FOREIGN DATA WRAPPER nowhere;

CREATE TABLE made (a int);
CREATE INDEX ON made (a);
INSERT INTO made SELECT id FROM plain;
ALTER TABLE made ADD PRIMARY KEY (a);

CREATE TABLE made PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
DROP TABLE made CASCADE;

CREATE VIEW made AS SELECT * FROM plain;
CREATE VIEW made_again AS SELECT * FROM made;
DROP VIEW made CASCADE;

CREATE TABLE made (LIKE orders INCLUDING DEFAULTS);
ALTER TABLE orders ATTACH PARTITION made FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

SET LOCAL search_path = "Mixed Case";
CREATE INDEX ON "Odd Table" ("Some Text");
CREATE VIEW odd AS SELECT * FROM "Odd View";

SET LOCAL search_path = archive, public;
CREATE OR REPLACE VIEW customer_names AS SELECT id FROM narrow, categories;

SET LOCAL search_path = archive, public;
CREATE TABLE IF NOT EXISTS plain (id int REFERENCES categories);

SET LOCAL search_path = archive, public;
CREATE TABLE IF NOT EXISTS things AS SELECT * FROM narrow;
CREATE TABLE IF NOT EXISTS narrow AS SELECT * FROM plain;

CREATE TEMP TABLE IF NOT EXISTS plain AS SELECT * FROM narrow;

CREATE OR REPLACE TEMP VIEW customer_names AS SELECT * FROM narrow;
SELECT * FROM customer_names;

CREATE INDEX made ON parcels (lower(code), size);
DROP INDEX made;
