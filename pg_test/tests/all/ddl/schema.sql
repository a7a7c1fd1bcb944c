-- The schema that the corpus works on: something of everything that one relation can be to another.
-- The roles clerk, manager and helper and the tablespace depot exist already.

CREATE SCHEMA archive;
CREATE SCHEMA "Mixed Case";
CREATE SCHEMA clerks AUTHORIZATION clerk;

-- Types.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE address AS (street text, zip text);
CREATE TYPE person AS (name text, born date);
CREATE TYPE lonely_type AS (a int);
CREATE TYPE span AS RANGE (subtype = numeric);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive CONSTRAINT is_small CHECK (VALUE < 1000);
CREATE DOMAIN mail AS text CONSTRAINT has_at CHECK (position('@' in VALUE) > 0);
CREATE DOMAIN home AS address;
CREATE DOMAIN lonely_domain AS text;
CREATE DOMAIN filled AS text NOT NULL;
CREATE COLLATION german FROM "C";

-- Functions.
CREATE FUNCTION next_code() RETURNS text LANGUAGE sql AS $$ SELECT md5(random()::text) $$;
CREATE FUNCTION is_sane(numeric) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 < 1000000 $$;
CREATE FUNCTION fold(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower($1) $$;
CREATE FUNCTION with_tax(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT $1 * 1.2 $$;
CREATE FUNCTION lonely(int) RETURNS int LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION lonely_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION less(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 < $2 $$;
CREATE OPERATOR <<< (LEFTARG = int, RIGHTARG = int, FUNCTION = less);
CREATE FUNCTION join_texts(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $2 $$;
CREATE AGGREGATE join_all(text) (SFUNC = join_texts, STYPE = text, INITCOND = '');

-- Plain tables with foreign keys of many kinds.
CREATE TABLE customers (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email mail,
  lives home,
  feels mood DEFAULT 'ok',
  tags text[],
  notes text,
  folded text GENERATED ALWAYS AS (fold(name)) STORED
);
CREATE INDEX customers_fold ON customers (fold(name));
CREATE INDEX customers_feels ON customers (feels) WHERE feels <> 'sad';
CREATE STATISTICS customers_stats (dependencies) ON name, feels FROM customers;
CREATE STATISTICS customers_stats_expression ON (fold(name)) FROM customers;
CREATE TRIGGER customers_touch BEFORE UPDATE ON customers FOR EACH ROW
  WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION touch();
CREATE TRIGGER customers_note AFTER INSERT ON customers FOR EACH STATEMENT EXECUTE FUNCTION note();

CREATE TABLE categories (
  id int PRIMARY KEY,
  parent int REFERENCES categories ON DELETE CASCADE,
  title varchar(40)
);
CREATE TABLE products (
  id serial PRIMARY KEY,
  sku text NOT NULL DEFAULT next_code(),
  category int REFERENCES categories ON DELETE SET NULL,
  price numeric CONSTRAINT price_is_sane CHECK (is_sane(price)),
  weight positive,
  photo bytea,
  CONSTRAINT products_sku_key UNIQUE (sku)
);
CREATE INDEX products_category ON products (category);
CREATE TABLE warehouses (region text, no int, capacity int, PRIMARY KEY (region, no));
CREATE TABLE stock (
  region text,
  no int,
  product int CONSTRAINT stock_product_fkey REFERENCES products ON DELETE CASCADE,
  amount small_positive DEFAULT 1,
  CONSTRAINT stock_warehouse_fkey FOREIGN KEY (region, no) REFERENCES warehouses ON UPDATE CASCADE,
  CONSTRAINT stock_key UNIQUE (region, no, product)
);
ALTER TABLE stock REPLICA IDENTITY FULL;
CREATE TABLE price_list (product int UNIQUE REFERENCES products (id) ON DELETE CASCADE, price numeric NOT NULL);
CREATE TABLE unchecked (id int, product int, price numeric);
ALTER TABLE unchecked ADD CONSTRAINT unchecked_product_fkey FOREIGN KEY (product) REFERENCES products NOT VALID;
ALTER TABLE unchecked ADD CONSTRAINT unchecked_price_check CHECK (price > 0) NOT VALID;

CREATE TABLE departments (id int PRIMARY KEY, head int);
CREATE TABLE employees (
  id int PRIMARY KEY,
  department int REFERENCES departments DEFERRABLE INITIALLY DEFERRED,
  manager int REFERENCES employees,
  CONSTRAINT employees_pair UNIQUE (id, department) DEFERRABLE
);
ALTER TABLE departments ADD CONSTRAINT departments_head_fkey FOREIGN KEY (head) REFERENCES employees DEFERRABLE;

-- Partitions.
CREATE TABLE orders (
  id bigint NOT NULL,
  placed date NOT NULL,
  customer int CONSTRAINT orders_customer_fkey REFERENCES customers ON DELETE CASCADE,
  total numeric,
  remark text,
  PRIMARY KEY (id, placed)
) PARTITION BY RANGE (placed);
CREATE TABLE orders_2023 PARTITION OF orders FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE orders_2024 PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE orders_default PARTITION OF orders DEFAULT;
CREATE INDEX orders_customer ON orders (customer);
CREATE INDEX orders_total ON ONLY orders (total);
CREATE INDEX orders_2023_total ON orders_2023 (total);
CREATE INDEX orders_2024_remark ON orders_2024 (remark);
ALTER INDEX orders_total ATTACH PARTITION orders_2023_total;
CREATE TRIGGER orders_touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER orders_note AFTER UPDATE ON orders FOR EACH ROW WHEN (NEW.total > 0) EXECUTE FUNCTION note();
CREATE STATISTICS orders_stats ON id, customer FROM orders;
-- Tables that could become partitions: one that proves it fits, two that do not.
CREATE TABLE orders_2025 (LIKE orders INCLUDING ALL, CHECK (placed >= '2025-01-01' AND placed < '2026-01-01'));
CREATE TABLE orders_2026 (LIKE orders);
CREATE TABLE orders_2027 (LIKE orders INCLUDING CONSTRAINTS);
CREATE INDEX orders_2027_customer ON orders_2027 (customer);

CREATE TABLE order_items (
  order_id bigint NOT NULL,
  placed date NOT NULL,
  line int NOT NULL,
  product int REFERENCES products,
  amount int,
  PRIMARY KEY (order_id, placed, line),
  CONSTRAINT order_items_order_fkey FOREIGN KEY (order_id, placed) REFERENCES orders ON DELETE CASCADE
) PARTITION BY RANGE (placed);
CREATE TABLE order_items_old PARTITION OF order_items FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE order_items_new PARTITION OF order_items FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
CREATE TABLE refunds (
  id int PRIMARY KEY,
  order_id bigint,
  placed date,
  CONSTRAINT refunds_order_fkey FOREIGN KEY (order_id, placed) REFERENCES orders
);

-- Several levels.
CREATE TABLE events (id int NOT NULL, at date NOT NULL, kind text NOT NULL, data text) PARTITION BY RANGE (at);
CREATE TABLE events_2023 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2023_click PARTITION OF events_2023 FOR VALUES IN ('click');
CREATE TABLE events_2023_other PARTITION OF events_2023 DEFAULT;
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY HASH (id);
CREATE TABLE events_rest_0 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_rest_1 PARTITION OF events_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX events_id ON events (id);
CREATE UNIQUE INDEX events_key ON events (id, at, kind);
CREATE TABLE events_2025 (id int NOT NULL, at date NOT NULL, kind text NOT NULL, data text) PARTITION BY LIST (kind);
CREATE TABLE events_2025_view PARTITION OF events_2025 FOR VALUES IN ('view');

CREATE TABLE readings (sensor text, value float8, at timestamptz) PARTITION BY LIST (sensor);
CREATE TABLE readings_a PARTITION OF readings FOR VALUES IN ('a');
CREATE TABLE readings_b PARTITION OF readings FOR VALUES IN ('b', 'c');
CREATE TABLE readings_d (sensor text, value float8, at timestamptz, CHECK (sensor IS NOT NULL AND sensor = 'd'));
CREATE INDEX readings_at ON readings (at);
CREATE TABLE visits (id int PRIMARY KEY, page text) PARTITION BY HASH (id);
CREATE TABLE visits_0 PARTITION OF visits FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE visit_details (visit int REFERENCES visits ON DELETE CASCADE, detail text);
CREATE TABLE empty_parent (a int, b text) PARTITION BY RANGE (a);

-- Partitioned by columns of types that may be dropped.
CREATE TABLE tempers (feels mood, amount small_positive, remark text) PARTITION BY LIST (feels);
CREATE TABLE tempers_happy PARTITION OF tempers FOR VALUES IN ('happy') PARTITION BY RANGE (amount);
CREATE TABLE tempers_happy_few PARTITION OF tempers_happy FOR VALUES FROM (1) TO (10);

-- Indexes of partitions that will do for some that their parents might get, each in its own way.
CREATE TABLE parcels (id int, at date, code text, size int, note varchar(20)) PARTITION BY RANGE (at);
CREATE TABLE parcels_old PARTITION OF parcels FOR VALUES FROM ('2020-01-01') TO ('2022-01-01');
CREATE TABLE parcels_new PARTITION OF parcels FOR VALUES FROM ('2022-01-01') TO ('2030-01-01') PARTITION BY HASH (id);
CREATE TABLE parcels_new_0 PARTITION OF parcels_new FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE INDEX parcels_old_upper ON parcels_old (upper(code), size);
CREATE INDEX parcels_old_lower ON parcels_old (lower(code), size);
CREATE INDEX parcels_old_lower_again ON parcels_old (lower(code), size);
CREATE INDEX parcels_new_0_lower ON parcels_new_0 (lower(code), size);
CREATE INDEX parcels_old_note ON parcels_old (lower(note)) WHERE size > 3;
CREATE INDEX parcels_old_code_hash ON parcels_old USING hash (code);
CREATE INDEX parcels_old_code_pattern ON parcels_old (code text_pattern_ops);
CREATE INDEX parcels_old_code_collated ON parcels_old (code COLLATE german);
CREATE INDEX parcels_old_code ON parcels_old (code DESC) INCLUDE (size);
CREATE INDEX parcels_new_size ON parcels_new (size);
CREATE INDEX parcels_old_size ON parcels_old (size) WHERE code IS NOT NULL;

-- Inheritance.
CREATE TABLE vehicles (id int, name text CONSTRAINT vehicle_has_name CHECK (name <> ''), wheels int DEFAULT 4);
CREATE TABLE cars (doors int) INHERITS (vehicles);
CREATE TABLE boats (draught numeric) INHERITS (vehicles);
CREATE TABLE sports_cars (seconds numeric) INHERITS (cars);
CREATE TABLE amphibians (sealed bool) INHERITS (cars, boats);
CREATE TABLE bicycles (id int, name text CONSTRAINT vehicle_has_name CHECK (name <> ''), wheels int, bell bool);
CREATE INDEX cars_doors ON cars (doors);
CREATE TABLE old_things (id int);
CREATE TABLE old_cars () INHERITS (old_things);

-- What inherits a column from two, one of which requires it.
CREATE TABLE gear (id int NOT NULL, label text CONSTRAINT gear_label CHECK (label <> ''), note text);
CREATE TABLE powered (kw int, label text, note text);
CREATE TABLE engines () INHERITS (gear, powered);
CREATE TABLE small_engines () INHERITS (engines);

-- Foreign keys to several levels of one tree, and what could become part of it.
CREATE TABLE voyages (id int, day date, ship int CONSTRAINT voyages_ship_fkey REFERENCES visits, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE voyages_2024 PARTITION OF voyages FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY RANGE (id);
CREATE TABLE voyages_2024_few PARTITION OF voyages_2024 FOR VALUES FROM (0) TO (100);
CREATE TABLE voyages_2024_rest PARTITION OF voyages_2024 DEFAULT;
CREATE TABLE voyages_2025 (LIKE voyages INCLUDING ALL, FOREIGN KEY (ship) REFERENCES visits);
CREATE TABLE voyage_logs (voyage int, day date, CONSTRAINT voyage_logs_fkey FOREIGN KEY (voyage, day) REFERENCES voyages);
CREATE TABLE voyage_fines (voyage int, day date, CONSTRAINT voyage_fines_fkey FOREIGN KEY (voyage, day) REFERENCES voyages_2024);
INSERT INTO voyages VALUES (1, '2024-03-03', NULL);

-- Typed tables, and a table whose row type is another's column.
CREATE TABLE staff OF person (PRIMARY KEY (name));
CREATE TABLE guests OF person;
CREATE TABLE untyped (name text, born date);
CREATE TABLE letters (title text, body text);
CREATE TABLE letter_versions (no int, was letters);

-- Special kinds.
CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, what text);
CREATE TABLE bookings (room int, during tsrange, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&));
CREATE TABLE "Mixed Case"."Odd Table" ("Id" int PRIMARY KEY, "Some Text" text);
CREATE TABLE "Mixed Case"."Child" ("Id" int, "Parent" int REFERENCES "Mixed Case"."Odd Table");
CREATE INDEX "Odd Index" ON "Mixed Case"."Odd Table" ("Some Text");
CREATE VIEW "Mixed Case"."Odd View" AS SELECT "Id" FROM "Mixed Case"."Odd Table";
CREATE TABLE narrow (a int, b int, c int);
CREATE INDEX narrow_a ON narrow (a);
CREATE UNIQUE INDEX narrow_b ON narrow (b);
CREATE TABLE plain (id int PRIMARY KEY, a int, b text, c timestamp, d varchar(20) COLLATE german, e int NOT NULL DEFAULT 0);
CREATE INDEX plain_a ON plain (a);
CREATE INDEX plain_d ON plain (d);
CREATE UNIQUE INDEX plain_e ON plain (e);
ALTER TABLE plain CLUSTER ON plain_a;
-- Columns whose types have lengths and precisions, or are domains.
CREATE DOMAIN short_text AS varchar(20);
CREATE DOMAIN short_title AS short_text CHECK (VALUE <> '');
CREATE TABLE measured (id int PRIMARY KEY, v varchar(10), c char(10), n numeric(8, 2), b varbit(8), f bit(8),
    t time(3), z timetz(3), s timestamp(3), y timestamptz(3), i interval(3), h interval hour to minute, a varchar(10)[],
    d short_text, p positive, note text);
CREATE TABLE feelings (a mood, b mood[], c span);
CREATE TABLE compared (a int, b int, CONSTRAINT a_before_b CHECK (a <<< b));
CREATE TABLE lonely_table (a int);
CREATE TABLE forms (a filled);
CREATE TABLE moved (id int PRIMARY KEY, body text) TABLESPACE depot;
CREATE INDEX moved_body ON moved (body) TABLESPACE depot;

-- Row security whose expressions look into other tables.
CREATE TABLE memberships (who name, document int);
CREATE TABLE documents (id int PRIMARY KEY, body text, owner name);
ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY members_read ON documents FOR SELECT
  USING (EXISTS (SELECT FROM memberships m WHERE m.document = documents.id AND m.who = current_user));
CREATE POLICY owners_write ON documents FOR UPDATE TO clerk, helper USING (owner = current_user)
  WITH CHECK (EXISTS (SELECT FROM staff));

-- Rules.
CREATE TABLE audit_log (at timestamptz DEFAULT now(), what text);
CREATE TABLE invoices (no int PRIMARY KEY, customer int REFERENCES customers, amount numeric);
CREATE RULE invoices_log AS ON INSERT TO invoices DO ALSO INSERT INTO audit_log (what) VALUES ('invoice');
CREATE RULE invoices_keep AS ON DELETE TO invoices DO INSTEAD NOTHING;

-- Sequences.
CREATE SEQUENCE invoice_numbers OWNED BY invoices.no;
ALTER TABLE invoices ALTER no SET DEFAULT nextval('invoice_numbers');
CREATE SEQUENCE ticket_numbers;
CREATE TABLE tickets (no bigint DEFAULT nextval('ticket_numbers'), title text);
CREATE SEQUENCE free_numbers;
CREATE TABLE serials (a smallserial, b bigserial, c int GENERATED BY DEFAULT AS IDENTITY, d int NOT NULL);

-- Views and materialized views.
CREATE VIEW customer_names AS SELECT id, name FROM customers;
CREATE VIEW customer_greetings AS SELECT 'Dear ' || name AS greeting FROM customer_names;
CREATE VIEW order_totals AS SELECT o.id, sum(i.amount * p.price) AS total
  FROM orders o JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product GROUP BY o.id;
CREATE VIEW taxed AS SELECT id, with_tax(price) AS price FROM products;
CREATE VIEW joined_titles AS SELECT join_all(title::text) FROM categories;
CREATE VIEW plain_rows AS SELECT id, a, b FROM plain;
CREATE VIEW happy AS SELECT id FROM customers WHERE feels = 'happy'::mood;
CREATE VIEW writable AS SELECT no, title FROM tickets;
CREATE RULE writable_insert AS ON INSERT TO writable DO INSTEAD INSERT INTO tickets (title) VALUES (NEW.title);
CREATE VIEW triggered AS SELECT id, what FROM scratch;
CREATE TRIGGER triggered_insert INSTEAD OF INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW lonely_view AS SELECT 1 AS a, 'x'::text AS b;
CREATE MATERIALIZED VIEW sales AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
CREATE UNIQUE INDEX sales_customer ON sales (customer);
CREATE MATERIALIZED VIEW sales_ranks AS SELECT customer, rank() OVER (ORDER BY total) FROM sales;
CREATE VIEW best AS SELECT * FROM sales_ranks WHERE rank = 1;
CREATE MATERIALIZED VIEW unfilled AS SELECT id, greeting FROM customers, customer_greetings WITH NO DATA;
CREATE MATERIALIZED VIEW lonely_matview AS SELECT 1 AS a;

-- A function that the server knows to depend on a table.
CREATE FUNCTION count_boats() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM boats; END;
CREATE VIEW fleet AS SELECT count_boats() AS boats;

-- Another schema.
CREATE TABLE archive.old_orders (id int PRIMARY KEY, customer int REFERENCES customers, body text);
CREATE TABLE archive.old_items (old_order int REFERENCES archive.old_orders ON DELETE CASCADE, what text);
CREATE INDEX old_items_what ON archive.old_items (what);
CREATE VIEW archive.customer_orders AS SELECT c.name, o.id FROM customers c JOIN archive.old_orders o ON o.customer = c.id;
CREATE VIEW old_order_ids AS SELECT id FROM archive.old_orders;
CREATE SEQUENCE archive.numbers;
CREATE TABLE archive.things (id int, a int);
CREATE TYPE archive.size AS ENUM ('s', 'm', 'l');
CREATE TABLE shirts (id int, size archive.size);

-- Publications: of inserts, for the others need a replica identity.
CREATE PUBLICATION some_tables FOR TABLE customers, plain (id, a), orders, narrow WHERE (a > 1) WITH (publish = 'insert');
CREATE PUBLICATION all_tables FOR ALL TABLES WITH (publish = 'insert');
CREATE PUBLICATION whole_schema FOR TABLES IN SCHEMA archive WITH (publish = 'insert');
CREATE PUBLICATION no_tables;

-- Foreign tables.
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far_away FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE remote (id int, body text) SERVER far_away;
CREATE FOREIGN TABLE remote_child () INHERITS (old_things) SERVER far_away;

-- What a role owns, and what was granted to it.
CREATE TABLE clerk_notes (id serial PRIMARY KEY, body text, customer int REFERENCES customers);
CREATE INDEX clerk_notes_customer ON clerk_notes (customer);
CREATE VIEW clerk_view AS SELECT id FROM clerk_notes;
CREATE VIEW note_count AS SELECT count(*) FROM clerk_view;
CREATE MATERIALIZED VIEW clerk_matview AS SELECT id FROM clerk_notes;
CREATE SEQUENCE clerk_numbers;
CREATE TABLE clerks.own (a int, b text);
CREATE FUNCTION clerk_function() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
CREATE TABLE clerk_checked (a int DEFAULT clerk_function());
ALTER TABLE clerk_notes OWNER TO clerk;
ALTER TABLE clerks.own OWNER TO clerk;
ALTER VIEW clerk_view OWNER TO clerk;
ALTER MATERIALIZED VIEW clerk_matview OWNER TO clerk;
ALTER SEQUENCE clerk_numbers OWNER TO clerk;
ALTER FUNCTION clerk_function() OWNER TO clerk;
GRANT SELECT ON customers, orders, ticket_numbers TO clerk;
GRANT UPDATE (a) ON plain TO clerk;
GRANT USAGE ON SCHEMA archive TO clerk;
GRANT SELECT ON stock TO helper;

-- A few rows.
INSERT INTO customers (name, email, lives) VALUES ('Ann', 'ann@example.org', ROW('Main St', '1')), ('Bob', 'b@example.org', NULL);
INSERT INTO categories VALUES (1, NULL, 'all'), (2, 1, 'some');
INSERT INTO products (sku, category, price) VALUES ('p1', 1, 10), ('p2', 2, 20);
INSERT INTO warehouses VALUES ('north', 1, 10);
INSERT INTO stock VALUES ('north', 1, 1, 5);
INSERT INTO orders VALUES (1, '2023-05-05', 1, 10, 'first'), (2, '2024-05-05', 2, 20, NULL), (3, '2030-01-01', 1, 5, NULL);
INSERT INTO order_items VALUES (1, '2023-05-05', 1, 1, 2), (2, '2024-05-05', 1, 2, 1);
INSERT INTO refunds VALUES (1, 1, '2023-05-05');
INSERT INTO events VALUES (1, '2023-02-02', 'click', 'x'), (2, '2024-02-02', 'view', 'y'), (3, '2030-01-01', 'z', 'z');
INSERT INTO readings VALUES ('a', 1, now()), ('b', 2, now());
INSERT INTO visits SELECT i, 'page' FROM generate_series(1, 10) i;
INSERT INTO plain SELECT i, i, 'text', now(), 'd', i FROM generate_series(1, 10) i;
INSERT INTO narrow SELECT i, i, i FROM generate_series(1, 10) i;
INSERT INTO cars VALUES (1, 'mini', 4, 2);
INSERT INTO documents VALUES (1, 'secret', 'clerk');
REFRESH MATERIALIZED VIEW sales;
REFRESH MATERIALIZED VIEW sales_ranks;
