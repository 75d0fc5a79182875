//! `emq_dashboard`: the web interface.
