//! The integration tests: the tree's own rules, and the whole pipeline from outside.
#![expect(missing_docs, reason = "a test binary has no readers of its documentation")]

#[cfg(test)]
mod tidy;
