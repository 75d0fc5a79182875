//! Names with passwords in a table: what `emq_auth_clientid` and `emq_auth_username` share.
