"""Define the demo's invented cinemas, films and people, for `manage.py seed`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from sessions_app.models import SeatKind
from sessions_app.new_prices import NewConcession, NewTicketType
from sessions_app.plans import Block, Place, grid, joined

PASSWORD = "frontrow-demo"  # noqa: S105 known to all, and refused in production
DAYS = 7  # of programme ahead, so that there is always something to buy


@dataclass(frozen=True, kw_only=True)
class Person:
    username: str
    first_name: str
    group: str = ""  # members of staff have one
    is_superuser: bool = False


PEOPLE = [
    Person(username="owner", first_name="Olívia", group="owner", is_superuser=True),
    Person(username="boxoffice", first_name="Beto", group="boxoffice"),
    Person(username="gate", first_name="Gabi", group="gate"),
    Person(username="ana", first_name="Ana"),
    Person(username="bruno", first_name="Bruno"),
]


@dataclass(frozen=True, kw_only=True)
class Title:
    """Describe a film or a concert."""

    title: str
    minutes: int
    rating: str
    genre: str
    synopsis: str


@dataclass(frozen=True)
class House:
    name: str
    city: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Room:
    """Describe a hall and its programme: `titles` in turn, every day at `times`."""

    house: House
    name: str
    places: Sequence[Place] = ()
    titles: Sequence[Title]
    times: Sequence[dt.time]
    price: int | None = None  # minor units per seat; matinées cost two thirds
    ticket_types: Sequence[NewTicketType] = ()
    every: int = 1  # days between showings
    presale: dt.timedelta | None = None  # the last showing of a day goes on sale only this long before


@dataclass(frozen=True, kw_only=True)
class Showing:
    room: Room
    title: Title
    starts_at: dt.datetime
    ticket_types: Sequence[NewTicketType]
    on_sale_at: dt.datetime | None


FILMS = [
    Title(
        title="O Último Bonde para Olinda",
        minutes=112,
        rating="12",
        genre="Drama",
        synopsis="Um motorneiro aposentado refaz, numa só noite, o trajeto de uma linha que já não existe.",
    ),
    Title(
        title="A Cartógrafa",
        minutes=104,
        rating="14",
        genre="Suspense",
        synopsis="Uma cidade do interior some dos mapas. Só a mulher que os desenha se lembra dela.",
    ),
    Title(
        title="Quintal de Estrelas",
        minutes=88,
        rating="Livre",
        genre="Animação",
        synopsis="Três irmãos montam um foguete de lata e descobrem que o galo do vizinho sabe pilotar.",
    ),
    Title(
        title="Sertão Elétrico",
        minutes=126,
        rating="16",
        genre="Ficção científica",
        synopsis="Em 2091, quem controla o vento do sertão controla o país. Uma eletricista discorda.",
    ),
    Title(
        title="Café Coado às Seis",
        minutes=97,
        rating="10",
        genre="Comédia",
        synopsis="A padaria vai fechar, e os fregueses das seis da manhã resolvem assaltar o próprio bairro.",
    ),
    Title(
        title="As Filhas do Relojoeiro",
        minutes=118,
        rating="12",
        genre="Romance",
        synopsis="Duas irmãs herdam um relógio que atrasa exatamente o tempo de dizer a verdade.",
    ),
    Title(
        title="Neblina em Paranapiacaba",
        minutes=109,
        rating="16",
        genre="Terror",
        synopsis="O trem das 23h chega todas as noites. Ninguém desce. Alguém sempre sobe.",
    ),
]
CONCERTS = [
    Title(
        title="Lua de Abril: Turnê Varanda",
        minutes=120,
        rating="16",
        genre="Show",
        synopsis="A banda mineira toca o disco novo inteiro, e o antigo também se o público souber cantar.",
    ),
    Title(
        title="Orquestra Sanfônica do Recife",
        minutes=100,
        rating="Livre",
        genre="Concerto",
        synopsis="Quarenta sanfonas, um maestro descalço e um forró que ninguém ouve sentado.",
    ),
]
MARATHON = Title(
    title="Festival Beira-Rio: Noite de Abertura",
    minutes=300,
    rating="16",
    genre="Festival",
    synopsis="Seis bandas, um rio e sessenta mil pessoas na mesma noite.",
)


def accessible(*, wheelchairs: Sequence[str], companions: Sequence[str], love: Sequence[str] = ()) -> dict[str, str]:
    return {
        **dict.fromkeys(wheelchairs, SeatKind.WHEELCHAIR.value),
        **dict.fromkeys(companions, SeatKind.COMPANION.value),
        **dict.fromkeys(love, SeatKind.LOVE.value),
    }


POCKET = grid(rows=4, seats_per_row=4)  # 16, for a contest about the last two seats
ART_HOUSE = joined(  # 98
    Block(
        rows=[8, 9, 10, 10, 10, 10, 10, 10, 11, 10],
        curve=0.9,
        kinds=accessible(wheelchairs=["J1", "J10"], companions=["J2", "J9"]),
    )
)
MULTIPLEX = joined(  # 240
    Block(
        rows=[20] * 12,
        aisles=frozenset({4, 16}),
        curve=1.2,
        kinds=accessible(
            wheelchairs=["A1", "A2", "A19", "A20"],
            companions=["A3", "A18"],
            love=["L9", "L10", "L11", "L12"],
        ),
    )
)
THEATRE = joined(  # 2,400
    Block(
        rows=[44] * 24,
        section="Plateia",
        aisles=frozenset({11, 33}),
        curve=4.0,
        front=7.0,
        kinds=accessible(wheelchairs=["A1", "A2", "A43", "A44"], companions=["A3", "A42"]),
    ),
    *(
        Block(rows=[2] * 12, section="Camarotes", prefix=f"C{side}-", left=left, front=9.0)
        for side, left in (("E", -29.0), ("D", 29.0))
    ),
    *(
        Block(
            rows=[72] * rows,
            section=section,
            prefix=prefix,
            aisles=frozenset({18, 54}),
            front=front,
            curve=9.0,
            kinds=accessible(wheelchairs=[f"{prefix}A1", f"{prefix}A72"], companions=[f"{prefix}A2", f"{prefix}A71"]),
        )
        for rows, section, prefix, front in ((8, "Balcão Nobre", "BN-", 51.0), (10, "Balcão Superior", "BS-", 65.0))
    ),
)
ARENA = joined(  # 10,000: two rings of ten sections, each a slice of the ring
    *(
        Block(
            rows=[first + index // 3 for index in range(rows)],
            section=section,
            prefix=f"{ring}{number:02}-",
            front=front,
            turn=(number - 5.5) * 17.2,
        )
        for ring, section, front, first, rows in (
            (1, "Cadeira Inferior", 39.0, 10, 32),
            (2, "Cadeira Superior", 86.0, 22, 21),
        )
        for number in range(1, 11)
    )
)
AFTERNOON_AND_NIGHT = [dt.time(14, 0), dt.time(16, 40), dt.time(19, 20), dt.time(22, 0)]
BIJOU = House("Cine Bijou Aurora", "São Paulo, SP", "Rua das Palmeiras, 214")
ORLA = House("Multiplex Orla", "Santos, SP", "Avenida da Praia, 1800")
SERRA = House("Cine Serra Azul", "Belo Horizonte, MG", "Rua do Mirante, 77")

ON_THE_RIVER = Room(
    house=House("Arena Beira-Rio", "Porto Velho, RO", "Estrada do Porto, km 4"),
    name="Palco Principal",
    places=ARENA,
    titles=[MARATHON],
    times=[dt.time(17, 0)],
    every=DAYS,
    ticket_types=[
        NewTicketType(name="Cadeira Inferior", price=32000),
        NewTicketType(name="Cadeira Superior", price=24000),
        NewTicketType(name="Pista", price=18000, capacity=50_000),
    ],
)
DEMO = [
    Room(house=BIJOU, name="Sala Bolso", places=POCKET, titles=FILMS[:3], times=AFTERNOON_AND_NIGHT, price=2500),
    Room(house=BIJOU, name="Sala Aurora", places=ART_HOUSE, titles=FILMS[1:6], times=AFTERNOON_AND_NIGHT, price=3200),
    Room(
        house=ORLA,
        name="Sala 3",
        places=MULTIPLEX,
        titles=FILMS[2:],
        times=[dt.time(15, 30), dt.time(18, 30), dt.time(21, 30)],
        price=3900,
        presale=dt.timedelta(days=3),
    ),
    Room(
        house=House("Circo Pavilhão", "Rio de Janeiro, RJ", "Largo do Cais, s/n"),
        name="Picadeiro",
        titles=CONCERTS,
        times=[dt.time(20, 30)],
        every=2,
        ticket_types=[
            NewTicketType(name="Pista", price=9000, capacity=300),
            NewTicketType(name="Meia-entrada", price=4500, capacity=120),
            NewTicketType(name="Mezanino", price=16000, capacity=60),
        ],
    ),
    Room(
        house=House("Theatro Imperial", "Manaus, AM", "Praça das Mangueiras, 1"),
        name="Grande Sala",
        places=THEATRE,
        titles=CONCERTS[::-1],
        times=[dt.time(20, 0)],
        every=3,
        ticket_types=[
            NewTicketType(name="Plateia", price=22000),
            NewTicketType(name="Camarotes", price=30000),
            NewTicketType(name="Balcão Nobre", price=15000),
            NewTicketType(name="Balcão Superior", price=8000),
        ],
    ),
    replace(ON_THE_RIVER, times=()),  # only the hall; the profile `arena` puts it on sale
]
CINEMA = [
    *DEMO,
    *(
        Room(house=ORLA, name=f"Sala {number}", places=places, titles=titles, times=AFTERNOON_AND_NIGHT, price=3600)
        for number, places, titles in (
            (1, MULTIPLEX, FILMS[3:]),
            (2, MULTIPLEX, FILMS[:4]),
            (4, ART_HOUSE, FILMS[::-1]),
        )
    ),
    *(
        Room(house=SERRA, name=name, places=places, titles=titles, times=AFTERNOON_AND_NIGHT, price=2800)
        for name, places, titles in (
            ("Sala Pampulha", ART_HOUSE, FILMS[::2]),
            ("Sala Curral", POCKET, FILMS[1::2]),
            ("Sala Mangabeiras", MULTIPLEX, FILMS),
        )
    ),
]
PROFILES = {"demo": DEMO, "cinema": CINEMA, "arena": [*DEMO, ON_THE_RIVER]}


CONCESSIONS = (
    NewConcession(name="Meia-entrada", percent_off=50, note="documento de estudante ou de idoso"),
    NewConcession(name="Infantil", percent_off=60, note="documento da criança"),
)
VOUCHER = "BEMVINDO"  # 10 % off, once per buyer


def showings(rooms: Sequence[Room], *, now: dt.datetime, zone: ZoneInfo) -> Iterator[Showing]:
    """Yield the programme of the next days. A later call yields the same showings, and then more."""
    today = now.astimezone(zone).date()
    for number, room in enumerate(rooms):
        for day in (today + dt.timedelta(days=ahead) for ahead in range(DAYS + 1)):
            if day.toordinal() % room.every:
                continue
            for slot, time in enumerate(room.times):
                starts_at = dt.datetime.combine(day, time, zone).astimezone(dt.UTC)
                if starts_at > now:
                    yield showing(room, turn=day.toordinal() // room.every + slot + number, slot=slot, at=starts_at)


def showing(room: Room, *, turn: int, slot: int, at: dt.datetime) -> Showing:
    last = slot == len(room.times) - 1
    matinee = room.times[slot] < dt.time(17) and not last
    return Showing(
        room=room,
        title=room.titles[turn % len(room.titles)],
        starts_at=at,
        ticket_types=priced(room.price, matinee=matinee) if room.price else room.ticket_types,
        on_sale_at=at - room.presale if room.presale and last else None,
    )


def priced(price: int, *, matinee: bool) -> list[NewTicketType]:
    return [NewTicketType(name="Inteira", price=price * 2 // 3 // 100 * 100 if matinee else price)]
