"""A small agent traced with the official LangSmith SDK, unmodified: only the endpoint points at Runhook.

    pip install -r requirements.txt
    export LANGSMITH_ENDPOINT=http://127.0.0.1:4710 LANGSMITH_TRACING=true LANGSMITH_PROJECT=support-bot
    python app.py
"""

import os

from langsmith import Client, traceable
from langsmith.run_helpers import get_current_run_tree


@traceable(run_type="retriever", tags=["search"])
def look_up(question: str) -> list[str]:
    return [f"an article about {question}"]


@traceable(run_type="tool", tags=["payments"])
def refund(order: str) -> str:
    raise RuntimeError(f"order {order} is locked")


@traceable(name="support agent", tags=["production"])
def answer(question: str) -> dict:
    articles = look_up(question)
    try:
        refund("A-17")
    except RuntimeError as error:
        text = f"Sorry: {error}."
    else:
        text = "Done."
    return {"answer": text, "sources": articles, "run_id": str(get_current_run_tree().id)}


def main() -> None:
    client = Client()
    result = answer("refunds", langsmith_extra={"client": client})
    client.flush()
    project = client.read_project(project_name=os.environ["LANGSMITH_PROJECT"])
    client.create_feedback(
        result["run_id"], session_id=project.id, key="user_score", score=0, comment="not helpful"
    )
    client.flush()
    print(f"traced run {result['run_id']}")


if __name__ == "__main__":
    main()
