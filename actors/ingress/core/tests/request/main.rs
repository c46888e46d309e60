//! What is decided about single requests, against models that are slower and simpler.

mod choose;
mod limits;
mod matching;
mod names;
mod support;
