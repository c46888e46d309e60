//! Ids, specs, commands, entities and error codes shared by every part of JACO.

#![forbid(unsafe_code)]
