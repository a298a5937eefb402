//! Checking a property on many values, the same ones in each run.
//!
//! `PROPTEST_RNG_SEED=<number>` in the environment makes others, `PROPTEST_CASES=<number>` more or
//! fewer.

use std::env;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner},
};

/// Whether a property holds for everything that a strategy makes; how many that was. Fails with
/// the simplest for which it does not, and the property's own words.
#[track_caller]
pub fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), String>,
) -> u32 {
    let mut runner = TestRunner::new(config(cases));
    match runner.run(strategy, |value| property(value).map_err(TestCaseError::fail)) {
        Ok(()) => runner.config().cases,
        Err(TestError::Fail(why, value)) => panic!("{why}\nmade of: {value:?}"),
        Err(error) => panic!("nothing to check: {error}"),
    }
}

/// What the environment does not say is fixed.
fn config(cases: u32) -> Config {
    let mut config = Config { max_local_rejects: u32::MAX, ..Config::default() };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x5eed);
    }
    // ChaCha is good for secrets, and slow without optimisation.
    config.rng_algorithm = RngAlgorithm::XorShift;
    config.failure_persistence = None;
    config.max_shrink_iters = 20_000;
    config
}
