//! The function's binary from outside: without its settings it says what is missing and does not start.

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn a_missing_setting_is_named() {
        let output = Command::new(env!("CARGO_BIN_EXE_enrich-lambda")).env_clear().output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("SCREENS_URL"), "{said}");
    }
}
