//! Every bound of the engine, with how its number was found.
