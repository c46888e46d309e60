//! Which effect of which core becomes which input of which other.

#![forbid(unsafe_code)]
