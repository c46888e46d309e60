//! Docker Engine driver.

#![forbid(unsafe_code)]
