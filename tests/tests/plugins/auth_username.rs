//! `emq_auth_username`: passwords by user name, from configuration and by the verb `users`, and SCRAM.
