"""What the tokens of one answer cost, by the price list of ``genai-prices``."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def computed_cost(model: str | None, tokens: Mapping[str, int], at: datetime) -> Decimal | None:
    """Return US dollars, or None where the model is not on the list.

    Args:
        model: the model's id.
        tokens: by the names of the usage columns; input tokens are the uncached ones, as Anthropic counts.
        at: when it was answered: prices change.
    """
    if model is None:
        return None
    written = tokens["cache_write_5m_tokens"] + tokens["cache_write_1h_tokens"]
    counts = {
        # The list counts cached tokens into the input.
        "input_tokens": tokens["input_tokens"] + tokens["cache_read_tokens"] + written,
        "output_tokens": tokens["output_tokens"],
        "cache_read_tokens": tokens["cache_read_tokens"],
        "cache_write_tokens": written,
        "cache_write_1h_tokens": tokens["cache_write_1h_tokens"],
        "web_searches": tokens["web_search_requests"],
    }
    return _priced(model, at.date().toordinal(), tuple(sorted((name, count) for name, count in counts.items() if count)))


@functools.lru_cache(maxsize=4096)
def _priced(model: str, day: int, counts: tuple[tuple[str, int], ...]) -> Decimal | None:
    # The price list takes a quarter of a second to load; not everyone who imports this package computes a cost.
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    arguments: dict[str, Any] = dict(counts)
    try:
        moment = datetime.fromordinal(day).replace(tzinfo=UTC)
        return calc_price(Usage(**arguments), model, provider_id="anthropic", genai_request_timestamp=moment).total_price
    except (LookupError, ValueError, OverflowError):
        return None
