//! What the dashboard needs beyond the API of 2.3.11.
