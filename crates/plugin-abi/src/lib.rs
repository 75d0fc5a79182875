//! What lies between the broker and a plugin in a library.
