//! Listeners, connections, files.
