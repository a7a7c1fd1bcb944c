//! Django's own operations in guard mode: nothing in the migrations, and an option of the connection.

use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Trial;
use pg_test::process;

use super::Shop;
use crate::convoy::traffic::Traffic;
use crate::convoy::{MAX_STALL, TOLERANCE};
use crate::preempt::scene::Backup;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        every_operation_goes_through_behind_a_backup_and_the_application_hardly_notices,
        without_the_option_they_wait_for_the_backup,
    ]
}

/// Migrations of the catalogue; a backup of it is in the way of each.
const MIGRATIONS: [&str; 6] = [
    "0002_add_field",
    "0003_alter_field",
    "0005_add_index_concurrently",
    "0006_remove_field",
    "0007_delete_model",
    "0008_add_constraint",
];

/// This one waits for writers alone.
const HARMLESS: &str = "0004_add_index";

/// What stands for a connection option in the project's settings.
const OPTIONS: &str = "SHOP_DATABASE_OPTIONS";

/// What the application does, over and over.
const PAGE: &str = "SELECT name, price FROM catalogue_product WHERE id = (SELECT 1 + (random() * 19000)::int); \
     UPDATE catalogue_product SET price = price + 1 WHERE id = (SELECT 1 + (random() * 19000)::int)";

fn shop(world: &World) -> Shop {
    let shop = Shop::open(world);
    shop.run(&["migrate", "catalogue", "0001"]).expect_success();
    shop.admin.run(
        "INSERT INTO catalogue_product (name, description, price, old_price) \
         SELECT 'product ' || i, repeat(md5(i::text), 30), 1, 0 FROM generate_series(1, 20000) i; \
         INSERT INTO catalogue_review (words, product_id) SELECT 'fine', i FROM generate_series(1, 1000) i; \
         ANALYZE",
    );
    shop
}

fn every_operation_goes_through_behind_a_backup_and_the_application_hardly_notices(world: &World) {
    let shop = shop(world);
    let mut all = MIGRATIONS.to_vec();
    all.insert(2, HARMLESS);
    for migration in all {
        let backup = Backup::start(&shop.database, 200_000);
        // What Django costs the application that locks nothing, on the processors that they share.
        let traffic = Traffic::start(&shop.database, 4, PAGE);
        process::run(shop.manage(&["showmigrations"]))
            .unwrap()
            .expect_success();
        let usual = traffic.end().worst;
        let traffic = Traffic::start(&shop.database, 4, PAGE);
        let start = Instant::now();
        let mut migrate = shop.manage(&["migrate", "catalogue", migration]);
        migrate.env(OPTIONS, "-c lockguard.policy=on");
        let migrated = process::run(migrate).unwrap();
        let took = start.elapsed();
        let felt = traffic.end();
        println!(
            "{migration}: {} ms in all, {} statements of the application, the slowest {} ms (without it {} ms)",
            took.as_millis(),
            felt.statements,
            felt.worst.as_millis(),
            usual.as_millis()
        );
        let migrated = migrated.expect_success();
        assert_eq!(felt.failures, 0, "{migration}");
        // In the queue, and then for the row of the trail with the lock held: for max_stall at most each.
        assert!(
            felt.worst < pg_test::slow(2 * MAX_STALL + TOLERANCE) + usual,
            "{migration}: {felt:?}, without it {usual:?}"
        );
        assert_eq!(
            backup.end().0.success(),
            migration == HARMLESS,
            "{migration}: {}",
            migrated.stderr
        );
    }
}

fn without_the_option_they_wait_for_the_backup(world: &World) {
    let shop = shop(world);
    for migration in MIGRATIONS {
        if migration == MIGRATIONS[2] {
            shop.run(&["migrate", "catalogue", HARMLESS])
                .expect_success();
        }
        let mut backup = Backup::start(&shop.database, 200_000);
        let mut migrate = shop.manage(&["migrate", "catalogue", migration]);
        migrate.env(OPTIONS, "-c statement_timeout=300ms");
        let migrated = process::run(migrate).unwrap();
        assert!(!migrated.status.success(), "{migration}");
        assert!(backup.is_running(), "{migration}");
        assert!(backup.end().0.success(), "{migration}");
        // An index build that was broken off leaves an invalid one.
        shop.admin.run("DROP INDEX IF EXISTS product_stock");
        shop.run(&["migrate", "catalogue", migration])
            .expect_success();
    }
}
