//! A connection for as long as one operation has it.
//!
//! What is run often is prepared once for each connection, under a name. Behind PgBouncer in transaction mode that cannot
//! be: the server's process belongs to somebody else a moment later, and has names of its own. There every statement is
//! nameless. So that none is forgotten, statements are run through this and through nothing else.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr, Transaction};

use crate::store::Result;

/// A connection, in a transaction or not.
#[derive(Debug)]
pub(super) struct Session {
    held: Held,
    has_names: bool,
}

#[derive(Debug)]
enum Held {
    Plain(PoolConnection<Postgres>),
    Transaction(Transaction<'static, Postgres>),
}

impl Session {
    /// Outside of transactions, which is nothing for behind PgBouncer.
    pub(super) fn plain(connection: PoolConnection<Postgres>) -> Self {
        Self { held: Held::Plain(connection), has_names: true }
    }

    /// Within a transaction, where statements have names or not.
    pub(super) fn within(transaction: Transaction<'static, Postgres>, has_names: bool) -> Self {
        Self { held: Held::Transaction(transaction), has_names }
    }

    /// Commits what was done, if it stands in a transaction.
    pub(super) async fn commit(self) -> Result<()> {
        match self.held {
            Held::Plain(_) => Ok(()),
            Held::Transaction(transaction) => Ok(transaction.commit().await?),
        }
    }

    /// The connection itself, for what gives no statement a name anyway.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        match &mut self.held {
            Held::Plain(connection) => connection,
            Held::Transaction(transaction) => transaction,
        }
    }
}

/// A statement that is given a name only where names last.
struct Named<E> {
    statement: E,
    has_names: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Named<E> {
    fn sql(self) -> SqlStr {
        self.statement.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.statement.statement()
    }

    fn take_arguments(&mut self) -> std::result::Result<Option<PgArguments>, BoxDynError> {
        self.statement.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.has_names && self.statement.persistent()
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, statement: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let has_names = self.has_names;
        self.connection().fetch_many(Named { statement, has_names })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, statement: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let has_names = self.has_names;
        self.connection().fetch_optional(Named { statement, has_names })
    }

    fn prepare_with<'e>(self, sql: SqlStr, types: &'e [PgTypeInfo]) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        self.connection().prepare_with(sql, types)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        self.connection().describe(sql)
    }
}
