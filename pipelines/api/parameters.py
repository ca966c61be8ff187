"""What holds for the parameters of every question."""

from fastapi import Request

from pipelines.errors import ParameterRepeated


def each_once(request: Request) -> None:
    """Refuse two values for one parameter: programs disagree about which of them counts."""
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) > len(set(given)):
        raise ParameterRepeated
