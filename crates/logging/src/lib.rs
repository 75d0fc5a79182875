//! The log: console, files with rotation, syslog; crash reports; trace files.
