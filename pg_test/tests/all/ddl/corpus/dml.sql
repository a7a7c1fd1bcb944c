SELECT * FROM plain;

SELECT 1;

SELECT * FROM plain WHERE a = 1 FOR UPDATE;

SELECT * FROM plain, narrow WHERE plain.a = narrow.a FOR SHARE OF narrow;

SELECT * FROM customer_names;

SELECT * FROM customer_names FOR UPDATE;

SELECT * FROM order_totals;

SELECT * FROM orders;

SELECT * FROM ONLY vehicles;

SELECT * FROM vehicles;

SELECT * FROM orders WHERE placed = '2023-02-02' FOR NO KEY UPDATE;

SELECT * FROM sales;

SELECT last_value FROM free_numbers;

SELECT nextval('free_numbers');

SELECT (SELECT max(a) FROM narrow), EXISTS (SELECT FROM staff) FROM categories WHERE id IN (SELECT id FROM visits);

SELECT a FROM narrow UNION SELECT id FROM plain ORDER BY 1;

WITH x AS (SELECT * FROM plain) SELECT * FROM x;

WITH plain AS (SELECT 1 AS a) SELECT * FROM plain;

WITH RECURSIVE t AS (SELECT id, parent FROM categories UNION ALL SELECT c.id, c.parent FROM categories c JOIN t ON t.id = c.parent) SELECT * FROM t LIMIT 5;

WITH gone AS (DELETE FROM narrow RETURNING a) INSERT INTO lonely_table SELECT a FROM gone;

TABLE plain;

VALUES (1), (2);

VALUES ((SELECT max(a) FROM narrow));

SELECT * FROM "Mixed Case"."Odd View" v JOIN "Mixed Case"."Child" c ON c."Id" = v."Id";

SELECT count(*) FROM archive.customer_orders;

SELECT * FROM generate_series(1, 3) g, LATERAL (SELECT * FROM plain WHERE a = g) x;

SELECT * FROM pg_class LIMIT 1;

SELECT 'plain'::regclass;

SELECT fold('X');

SELECT * FROM documents;

INSERT INTO plain (id, e) VALUES (100, 100);

INSERT INTO plain (id, e) SELECT a + 200, a + 200 FROM narrow;

INSERT INTO customers (name) VALUES ('Eve') RETURNING id;

INSERT INTO orders VALUES (9, '2023-07-07', 1, 5, NULL);

INSERT INTO orders_2023 VALUES (9, '2023-07-07', 1, 5, NULL);

INSERT INTO stock VALUES ('north', 1, 2, 5);

INSERT INTO invoices (customer) VALUES (1);

INSERT INTO tickets (title) VALUES ('t');

INSERT INTO writable (title) VALUES ('t');

INSERT INTO triggered VALUES (1, 'x');

INSERT INTO plain (id, e) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET a = (SELECT max(a) FROM narrow);

INSERT INTO narrow DEFAULT VALUES;

INSERT INTO customer_names OVERRIDING SYSTEM VALUE VALUES (77, 'G');

UPDATE plain SET a = 5 WHERE id = 1;

UPDATE plain SET a = n.b FROM narrow n WHERE n.a = plain.id;

UPDATE customers SET name = 'x';

UPDATE orders SET total = 1;

UPDATE orders SET placed = '2024-02-02' WHERE id = 99;

UPDATE ONLY vehicles SET wheels = 3;

UPDATE vehicles SET wheels = 3;

UPDATE customer_names SET name = 'y' WHERE id = 1;

UPDATE plain SET b = (SELECT name FROM customers LIMIT 1);

UPDATE price_list SET price = price * 2;

DELETE FROM plain WHERE id = 1;

DELETE FROM plain USING narrow WHERE narrow.a = plain.a;

DELETE FROM categories;

DELETE FROM orders WHERE id = 2;

DELETE FROM invoices;

DELETE FROM ONLY cars;

DELETE FROM vehicles;

MERGE INTO narrow USING plain ON narrow.a = plain.id WHEN MATCHED THEN UPDATE SET c = 1;

MERGE INTO narrow n USING (SELECT id FROM visits) v ON n.a = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id) WHEN MATCHED THEN DELETE;

MERGE INTO orders o USING customers c ON c.id = o.customer WHEN MATCHED THEN UPDATE SET total = 0;

EXPLAIN SELECT * FROM plain;

EXPLAIN (COSTS off) UPDATE plain SET a = 1;

EXPLAIN ANALYZE DELETE FROM narrow;

EXPLAIN CREATE TABLE made AS SELECT * FROM plain;

COPY plain TO '/dev/null';

COPY (SELECT * FROM narrow) TO '/dev/null';

COPY plain (id, e) FROM '/dev/null';

COPY orders FROM '/dev/null';

DECLARE c CURSOR FOR SELECT * FROM plain;

DECLARE c CURSOR FOR SELECT * FROM plain FOR UPDATE;

DECLARE c CURSOR FOR SELECT * FROM plain;
FETCH 1 FROM c;
UPDATE plain SET a = 1 WHERE id = 1;
CLOSE c;

PREPARE p AS SELECT * FROM plain;
DEALLOCATE p;

PREPARE p (int) AS DELETE FROM narrow WHERE a = $1;
EXECUTE p (1);
DEALLOCATE p;

DO $$ BEGIN DELETE FROM narrow; END $$;

DO $$ BEGIN EXECUTE 'LOCK TABLE plain'; END $$;

CREATE TEMP TABLE plain AS SELECT 1 AS a;
SELECT * FROM plain;
UPDATE plain SET a = 2;

SET LOCAL search_path = archive, public;
SELECT * FROM things;
INSERT INTO plain (id, e) VALUES (300, 300);

SELECT * FROM plain, (SELECT * FROM narrow) n WHERE n.a = plain.a FOR UPDATE OF n;

SELECT * FROM (SELECT * FROM plain WHERE EXISTS (SELECT FROM narrow)) x FOR UPDATE;

SELECT * FROM plain TABLESAMPLE system (50) FOR UPDATE;

SELECT * FROM plain AS narrow FOR UPDATE OF narrow;

SELECT * FROM plain p, LATERAL (SELECT * FROM narrow n WHERE n.a = p.a LIMIT 1) l FOR KEY SHARE OF l;

DELETE FROM plain WHERE id IN (SELECT a FROM narrow ORDER BY a FOR UPDATE SKIP LOCKED LIMIT 2);

WITH plain AS (SELECT * FROM plain WHERE a > 1) SELECT * FROM plain;

WITH x AS (SELECT * FROM narrow), narrow AS (SELECT 1 AS a) SELECT * FROM x, narrow;

WITH plain AS MATERIALIZED (SELECT * FROM plain FOR UPDATE) SELECT * FROM plain;

WITH RECURSIVE plain AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM plain WHERE a < 5) SELECT * FROM plain;

WITH a AS (SELECT 1 AS n) SELECT * FROM a WHERE EXISTS (WITH a AS (SELECT * FROM narrow) SELECT * FROM a);

SELECT 'plain'::regclass, CAST('narrow' AS regclass), pg_relation_size('staff');

SELECT pg_get_viewdef('plain_rows');

SELECT setval('free_numbers'::regclass, (SELECT max(id) FROM plain)), currval('free_numbers');

SELECT nextval(pg_get_serial_sequence('public.products', 'id')::regclass);

CREATE TEMP TABLE made AS WITH plain AS (SELECT * FROM plain) SELECT * FROM plain;

CREATE TABLE made (a int);
SELECT * FROM pg_class, made;

EXPLAIN DECLARE c CURSOR FOR SELECT * FROM plain FOR UPDATE;

EXPLAIN CREATE MATERIALIZED VIEW made AS SELECT * FROM customer_greetings;

SELECT * FROM ROWS FROM (generate_series(1, (SELECT count(*)::int FROM plain)), unnest(ARRAY(SELECT a FROM narrow))) f;
