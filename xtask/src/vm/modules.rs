//! Which of the integration tests run in the machines.

/// Those whose result depends on the kernel, as many as emulation has time for.
pub(super) const MODULES: [&str; 6] = [
    "live_captures",
    "live_lifecycle",
    "live_privileges",
    "live_place",
    "live_differential",
    "live_limits",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_there() {
        let program = include_str!("../../../conntrack/tests/main.rs");
        for module in MODULES {
            assert!(program.contains(&format!("\nmod {module};\n")), "{module}");
        }
    }
}
