//! `users`, `auth`, `change_pwd`: who may use the API and the dashboard.

use super::forms::{Body, Fault, Fields, Form, Name};
use crate::App;
use crate::answer::{Answer, DONE, code};
use crate::auth::{Came, check_login};
use crate::console::forms::{Done, Envelope};
use crate::openapi::{Outcome, Refused};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use emqttd_management::UserError;
use serde::Serialize;
use utoipa::ToSchema;

/// Somebody who may log in.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    /// name
    pub username: String,
    /// a remark; `administrator` for the first one
    pub tags: String,
}

impl From<emqttd_management::User> for User {
    fn from(user: emqttd_management::User) -> User {
        User {
            username: user.username,
            tags: user.tags,
        }
    }
}

/// A user, or `[]`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MaybeUser {
    /// there is one of that name
    Somebody(User),
    /// there is none
    Nobody(Done),
}

/// All users.
#[utoipa::path(get, path = "/users", tag = "Users", operation_id = "users",
    responses((status = 200, body = Envelope<Vec<User>>)))]
pub async fn list(app: State<App>) -> Result<Answer<Vec<User>>, Fault> {
    let users = app.ask(|core| core.users().list()).await?;
    Ok(Answer(users.into_iter().map(User::from).collect()))
}

/// A user, or `[]` when there is none of that name.
#[utoipa::path(get, path = "/users/{name}", tag = "Users", operation_id = "user",
    params(("name" = String, Path, description = "user name")),
    responses((status = 200, body = Envelope<MaybeUser>)))]
pub async fn one(Name(name): Name, app: State<App>) -> Result<Answer<MaybeUser>, Fault> {
    let user = app.ask(move |core| core.users().get(&name)).await?;
    Ok(Answer(match user {
        Some(user) => MaybeUser::Somebody(user.into()),
        None => MaybeUser::Nobody(Done),
    }))
}

/// A new user.
#[derive(ToSchema)]
pub struct NewUser {
    /// name
    username: String,
    /// password
    password: String,
    /// a remark
    tags: String,
}

impl Form for NewUser {
    fn read(fields: &Fields) -> NewUser {
        NewUser {
            username: fields.text("username"),
            password: fields.text("password"),
            tags: fields.text("tags"),
        }
    }
}

/// Adds a user.
#[utoipa::path(post, path = "/users", tag = "Users", operation_id = "add_user", request_body = NewUser,
    responses((status = 200, body = Outcome<Done>, description = "113: there is one of that name; 102: not a name or a password")))]
pub async fn add(app: State<App>, Body(new): Body<NewUser>) -> Result<impl IntoResponse, Fault> {
    let done = app
        .ask(move |core| core.users().add(&new.username, &new.password, &new.tags))
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

/// What is changed of a user.
#[derive(ToSchema)]
pub struct NewTags {
    /// the new remark
    tags: String,
}

impl Form for NewTags {
    fn read(fields: &Fields) -> NewTags {
        NewTags {
            tags: fields.text("tags"),
        }
    }
}

/// Changes the remark of a user.
#[utoipa::path(put, path = "/users/{name}", tag = "Users", operation_id = "set_user_tags",
    params(("name" = String, Path, description = "user name")), request_body = NewTags,
    responses((status = 200, body = Outcome<Done>, description = "105: there is none of that name")))]
pub async fn set_tags(
    Name(name): Name,
    app: State<App>,
    Body(new): Body<NewTags>,
) -> Result<impl IntoResponse, Fault> {
    let done = app
        .ask(move |core| core.users().set_tags(&name, &new.tags))
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

/// Removes a user.
#[utoipa::path(delete, path = "/users/{name}", tag = "Users", operation_id = "remove_user",
    params(("name" = String, Path, description = "user name")),
    responses((status = 200, body = Outcome<Done>, description = "105: there is none of that name; 106: `admin` stays")))]
pub async fn remove(Name(name): Name, app: State<App>) -> Result<impl IntoResponse, Fault> {
    let done = app
        .ask(move |core| core.users().remove_remotely(&name))
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

/// A user name and a password.
#[derive(ToSchema)]
pub struct AuthForm {
    /// name
    username: String,
    /// password
    password: String,
}

impl Form for AuthForm {
    fn read(fields: &Fields) -> AuthForm {
        AuthForm {
            username: fields.text("username"),
            password: fields.text("password"),
        }
    }
}

/// Whether that is the password of that user.
#[utoipa::path(post, path = "/auth", tag = "Users", operation_id = "auth", security(()), request_body = AuthForm,
    responses(
        (status = 200, body = Outcome<Done>, description = "103: it is not, there is no such user, or it does not count from elsewhere"),
        (status = 429, body = Refused, description = "too many failed logins"),
        (status = 503, body = Refused, description = "not now"),
    ))]
pub async fn auth(
    app: State<App>,
    came: Came,
    headers: HeaderMap,
    Body(given): Body<AuthForm>,
) -> Result<impl IntoResponse, Fault> {
    let (username, password) = (&given.username, &given.password);
    check_login(
        &app,
        &came,
        &headers,
        username,
        password,
        "POST /api/v2/auth",
    )
    .await?;
    Ok(DONE)
}

/// Two passwords.
#[derive(ToSchema)]
pub struct NewPassword {
    /// the one that counts
    old_pwd: String,
    /// the one that is to count
    new_pwd: String,
}

impl Form for NewPassword {
    fn read(fields: &Fields) -> NewPassword {
        NewPassword {
            old_pwd: fields.text("old_pwd"),
            new_pwd: fields.text("new_pwd"),
        }
    }
}

/// Changes the password of a user.
#[utoipa::path(put, path = "/change_pwd/{name}", tag = "Users", operation_id = "change_password",
    params(("name" = String, Path, description = "user name")), request_body = NewPassword,
    responses((status = 200, body = Outcome<Done>,
        description = "105: there is none of that name; 114: the old password is wrong; 102: the new one is not one")))]
pub async fn change_password(
    Name(name): Name,
    app: State<App>,
    Body(new): Body<NewPassword>,
) -> Result<impl IntoResponse, Fault> {
    let done = app
        .ask(move |core| {
            core.users()
                .change_password(&name, &new.old_pwd, &new.new_pwd)
        })
        .await?;
    done.map_err(explain)?;
    Ok(DONE)
}

fn explain(error: UserError) -> Fault {
    match error {
        UserError::Exists => Fault::said(code::USER_EXISTS, "User already exist"),
        UserError::NotFound => Fault::said(code::NO_USER, "User not found"),
        UserError::Protected => Fault::said(code::ADMIN_STAYS, "admin cannot be deleted"),
        UserError::WrongPassword => Fault::said(code::OLD_PASSWORD, "OldPassword error"),
        other => Fault::said(code::UNKNOWN, other.to_string()),
    }
}
