"""Values of any type that the codec knows, drawn from what msgspec knows about the type.

So a field that is new tomorrow is tried tomorrow, with nothing to be added here.
"""

from datetime import UTC
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Whatever a value of the type may be."""
    return _of(inspect.type_info(kind))


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return st.fixed_dictionaries(
                {field.name: _of(field.type) for field in fields if field.required},
                optional={field.name: _of(field.type) for field in fields if not field.required},
            ).map(lambda given: cls(**given))
        case inspect.UnionType(types=types):
            return st.one_of(*map(_of, types))
        case inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(_of(item), min_size=least or 0, max_size=3).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_of(key), _of(value), max_size=3)
        case inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case inspect.StrType():
            return _text(kind)
        case inspect.IntType(gt=None):
            return st.integers(kind.ge, kind.le if kind.lt is None else kind.lt - 1)
        case inspect.FloatType(lt=None):
            low = kind.ge if kind.gt is None else kind.gt
            finite = st.floats(low, kind.le, allow_nan=False, allow_infinity=False)
            return finite.filter(lambda number: kind.gt is None or number > kind.gt)
        case inspect.DateTimeType():
            return st.datetimes(timezones=st.just(UTC))
        case inspect.BytesType():
            return st.binary(max_size=20)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.UUIDType():
            return st.uuids()
        case inspect.AnyType():
            return JSON
        case _:
            raise NotImplementedError(kind)


def _text(kind: inspect.StrType) -> st.SearchStrategy[str]:
    least, most = kind.min_length or 0, kind.max_length
    if kind.pattern is None:
        return st.text(min_size=least, max_size=most)
    return st.from_regex(kind.pattern).filter(
        lambda text: least <= len(text) and (most is None or len(text) <= most)
    )
