//! `emq_auth_clientid`: passwords by client id, from configuration and by the verb `clientid`.
