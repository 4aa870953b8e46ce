//! What was asked for of many deliveries at once.

use crate::model::event::Errand;
use crate::model::id::{ErrandId, TenantId};
use crate::model::time::Timestamp;
use crate::store::Result;
use crate::store::catalog::Page;
use crate::store::row::{Cells, Columns, readable};

use super::catalog::mark;
use super::{Connection, number};

const ADD: &str = "INSERT INTO errands (tenant_id, errand_id, number, kind, deliveries, ended_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";

const FORGET: &str = "DELETE FROM errands WHERE tenant_id = $1 AND ended_at < $2";

const ONE: &str =
    "SELECT errand_id, number, kind, deliveries, ended_at FROM errands WHERE tenant_id = $1 AND errand_id = $2";

const OLDEST: &str = "SELECT errand_id, number, kind, deliveries, ended_at FROM errands WHERE tenant_id = $1 \
     AND number > $2 AND ($4 = '' OR kind = $4) ORDER BY number LIMIT $3";

const NEWEST: &str = "SELECT errand_id, number, kind, deliveries, ended_at FROM errands WHERE tenant_id = $1 \
     AND number < $2 AND ($4 = '' OR kind = $4) ORDER BY number DESC LIMIT $3";

fn errand(row: &impl Columns) -> Result<Errand> {
    let mut cells = Cells::of("errands", row);
    Ok(Errand {
        id: ErrandId(cells.take()?),
        number: cells.take()?,
        kind: cells.take()?,
        deliveries: cells.take::<i64>()?.cast_unsigned(),
        ended_at: cells.instant()?,
    })
}

pub(in crate::store) async fn note(
    connection: &mut Connection,
    tenant: TenantId,
    errand: &Errand,
    forget: Timestamp,
) -> Result<()> {
    sqlx::query(FORGET).bind(tenant.0).bind(forget.0).execute(&mut *connection).await?;
    let number = number(connection).await?;
    let query = sqlx::query(ADD).bind(tenant.0).bind(errand.id.0).bind(number).bind(errand.kind.clone());
    query.bind(errand.deliveries.cast_signed()).bind(errand.ended_at.0).execute(connection).await?;
    Ok(())
}

pub(in crate::store) async fn one(
    connection: &mut Connection,
    tenant: TenantId,
    id: ErrandId,
) -> Result<Option<Errand>> {
    let row = sqlx::query(ONE).bind(tenant.0).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(errand).transpose()
}

pub(in crate::store) async fn page(
    connection: &mut Connection,
    tenant: TenantId,
    kind: Option<&str>,
    page: Page<i64>,
) -> Result<Vec<Errand>> {
    let statement = if page.descending { NEWEST } else { OLDEST };
    let query = sqlx::query(statement).bind(tenant.0).bind(mark(&page)).bind(i64::from(page.limit));
    readable(&query.bind(kind.unwrap_or_default().to_owned()).fetch_all(connection).await?, errand)
}
