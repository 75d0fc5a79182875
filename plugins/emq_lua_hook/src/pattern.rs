//! Patterns of Lua 5.2, matched with a count of the steps taken.
