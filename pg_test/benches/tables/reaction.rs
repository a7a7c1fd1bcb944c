use crate::{sheet::Sheet, world::World};
use pg_test::Failure;
pub fn run(_: &World, _: &mut Sheet) -> Result<(), Failure> {
    Ok(())
}
