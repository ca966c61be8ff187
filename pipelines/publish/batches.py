"""Organizations in batches that are published together, and finding the culprit where that fails."""

from collections.abc import Callable, Mapping
from uuid import UUID

from pipelines.errors import ExecutionMetricsError, PublishConflict, is_failure

Batch = tuple[UUID, ...]


def by_work(work: Mapping[UUID, int], *, room: int, most: int) -> list[Batch]:
    """Organizations in portions of so much work, the least first: a whale comes last, and alone."""
    batches: list[list[UUID]] = []
    left = 0
    for key in sorted(work, key=lambda each: (work[each], each)):
        if not batches or work[key] > left or len(batches[-1]) >= most:
            batches.append([])
            left = room
        batches[-1].append(key)
        left -= work[key]
    return [tuple(sorted(batch)) for batch in batches]


def bisect(
    batch: Batch,
    publish: Callable[[Batch], None],
    *,
    overtaken: Callable[[Batch], bool],
    give_up: Callable[[UUID, BaseException], None],
) -> None:
    """Publish a batch, or its halves if it cannot be, down to the organization that is to blame.

    Raises `PublishConflict` when the failure comes of another run that has published one of these.
    """
    try:
        publish(batch)
    except ExecutionMetricsError:
        # A failure with a sentence of its own concerns every organization: a lost connection, for instance.
        raise
    except BaseException as failure:
        if not is_failure(failure):
            raise
        if overtaken(batch):
            raise PublishConflict from failure
        if len(batch) == 1:
            give_up(batch[0], failure)
            return
        middle = len(batch) // 2
        bisect(batch[:middle], publish, overtaken=overtaken, give_up=give_up)
        bisect(batch[middle:], publish, overtaken=overtaken, give_up=give_up)
