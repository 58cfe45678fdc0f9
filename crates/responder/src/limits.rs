//! Every bound of the responder, with how its number was found.
