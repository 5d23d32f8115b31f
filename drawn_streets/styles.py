"""How things look: three styles as plain data, and the layouts that go with them.

`gta` is clean, saturated and sharp; `cityscapes` is its "real" counterpart with other colours, fog,
texture and a worse camera; `synthia` has a third palette, flat light, and a camera that may hang
anywhere between the ground and the roofs.
"""

from dataclasses import dataclass

from .scene import Layout

RGB = tuple[int, int, int]
Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Colours by name, light, and the camera's flaws; ranges are drawn anew for every image."""

    palette: dict[str, tuple[RGB, ...]]
    spread: float = 0.1  # brightness of single objects varies by this share
    tint: float = 0.  # channels of single objects vary by this share
    ambient: float = 0.7  # light in the shadow; 1 is flat
    foliage: float = 0.25  # contrast within trees
    fog: Range = (0., 0.)  # extinction per metre
    fog_colour: RGB = (200, 210, 220)
    shadow: Range = (0., 0.)  # darkness of the buildings' shadows on the street
    texture: Range = (0., 0.)  # grain of the surfaces, in grey levels
    unevenness: Range = (0., 0.)  # slow change of the light over the picture, a share
    blur: Range = (0., 0.)  # sigma at a height of 96 pixels
    noise: Range = (0., 0.)  # sensor, in grey levels
    gamma: Range = (1., 1.)
    contrast: Range = (1., 1.)
    saturation: Range = (1., 1.)
    cast: tuple[float, float, float] = (1., 1., 1.)  # gain of red, green, blue
    cast_spread: float = 0.
    vignette: Range = (0., 0.)
    clouds: Range = (0.1, 0.6)

    def colour(self, name: str, pick: float = 0.5, tone: float = 0.5,
               hue: float = 0.5) -> tuple[float, float, float]:
        """A colour for uniform numbers in 0..1: which anchor, how bright, which tint."""
        anchors = self.palette[name]
        red, green, blue = anchors[int(pick * len(anchors)) % len(anchors)]
        bright, shift = 1 + self.spread * (2 * tone - 1), self.tint * (2 * hue - 1)
        return (min(red * bright * (1 + shift), 255.), min(green * bright, 255.),
                min(blue * bright * (1 - shift), 255.))


_COMMON = dict(
    skin=((224, 172, 140), (190, 130, 100), (120, 80, 60)),
    hair=((40, 30, 25), (90, 60, 30), (170, 130, 70)),
    tyre=((28, 28, 30),), red=((200, 30, 30),), blue=((30, 80, 180),), yellow=((235, 200, 40),),
    white=((240, 240, 240),), black=((20, 20, 22),), lamp_off=((55, 50, 45),),
    bin=((60, 80, 70), (90, 90, 95)))

GTA = Style(
    palette=_COMMON | dict(
        sky_top=((58, 120, 205), (80, 140, 215), (70, 110, 190)),
        sky_low=((178, 212, 240), (205, 222, 236), (240, 214, 180)), cloud=((252, 252, 252),),
        road=((88, 89, 96), (78, 80, 88), (98, 96, 98)), marking=((238, 238, 230),),
        rail=((170, 172, 178),), kerb=((190, 186, 178),),
        sidewalk=((186, 176, 160), (198, 190, 176), (172, 164, 156)),
        terrain=((120, 168, 62), (140, 172, 70), (176, 162, 96)),
        building=((206, 132, 92), (226, 196, 148), (176, 80, 66), (214, 206, 196), (150, 168, 190),
                  (232, 216, 176)),
        roof=((150, 70, 52), (110, 62, 50), (92, 88, 92)),
        window=((70, 100, 140), (60, 82, 112)), shop=((46, 62, 80),),
        awning=((190, 40, 40), (40, 110, 70), (40, 70, 150)), door=((96, 60, 36), (60, 50, 50)),
        wall=((196, 186, 170), (172, 108, 84), (160, 160, 164)),
        fence=((206, 186, 150), (126, 92, 62), (92, 104, 112)), fence_gap=((84, 96, 70),),
        pole=((112, 116, 122), (84, 90, 96)), housing=((34, 36, 38),),
        vegetation=((62, 128, 44), (84, 146, 52), (48, 112, 52), (112, 152, 48)),
        trunk=((104, 74, 48),),
        clothes=((200, 40, 40), (40, 90, 180), (240, 220, 80), (245, 245, 245), (30, 130, 90),
                 (220, 120, 180)),
        trousers=((40, 52, 92), (30, 30, 34), (150, 130, 100)),
        car=((196, 26, 30), (24, 76, 170), (240, 240, 240), (250, 190, 30), (30, 32, 36),
             (30, 130, 80)),
        glass=((46, 62, 78),),
        truck=((232, 232, 228), (214, 120, 30), (50, 110, 160)), cab=((200, 40, 36), (40, 90, 170)),
        bus=((240, 190, 20), (210, 44, 40), (60, 150, 90)),
        train=((200, 30, 40), (230, 230, 226), (40, 100, 180)),
        motorcycle=((190, 30, 30), (30, 60, 150), (40, 40, 42)),
        bicycle=((200, 50, 40), (40, 90, 160), (60, 60, 64)),
        helmet=((230, 230, 230), (200, 40, 40), (40, 40, 44)), hood=((60, 62, 70),)),
    spread=0.12, ambient=0.72, fog=(0., 0.002), fog_colour=(205, 222, 238), shadow=(0.1, 0.3),
    contrast=(1., 1.08), saturation=(1.05, 1.2), noise=(0., 1.), gamma=(0.95, 1.05), clouds=(0.2, 0.8))

CITYSCAPES = Style(
    palette=_COMMON | dict(
        sky_top=((190, 204, 214), (168, 190, 208), (206, 214, 218)),
        sky_low=((236, 238, 236), (228, 232, 232)), cloud=((246, 246, 244),),
        road=((112, 112, 108), (124, 122, 116), (102, 104, 102)), marking=((192, 194, 188),),
        rail=((128, 128, 124),), kerb=((142, 140, 134),),
        sidewalk=((134, 126, 122), (146, 138, 130), (120, 114, 112)),
        terrain=((98, 110, 72), (116, 116, 80), (86, 100, 64)),
        building=((122, 112, 98), (158, 150, 134), (104, 84, 74), (174, 170, 158), (92, 94, 96),
                  (140, 122, 92)),
        roof=((92, 66, 58), (70, 68, 70)), window=((52, 58, 60), (84, 92, 96), (120, 130, 132)),
        shop=((44, 48, 48), (92, 96, 90)), awning=((118, 50, 46), (60, 76, 70), (130, 120, 96)),
        door=((66, 54, 46), (50, 52, 52)),
        wall=((112, 108, 100), (134, 128, 116), (96, 80, 70)),
        fence=((86, 90, 86), (70, 74, 68), (124, 118, 106)), fence_gap=((92, 96, 84),),
        pole=((92, 96, 92), (120, 122, 116), (66, 70, 68)), housing=((40, 44, 42), (70, 72, 60)),
        vegetation=((52, 70, 44), (66, 80, 46), (42, 60, 44), (84, 88, 54)),
        trunk=((70, 62, 54),),
        clothes=((40, 42, 46), (70, 66, 62), (52, 58, 74), (110, 96, 82), (134, 56, 50),
                 (150, 148, 142)),
        trousers=((36, 38, 44), (52, 56, 66), (84, 78, 68)),
        car=((44, 46, 50), (150, 152, 152), (92, 96, 98), (190, 192, 188), (40, 52, 72),
             (96, 36, 34)),
        glass=((50, 56, 58), (34, 38, 40)),
        truck=((176, 174, 166), (120, 124, 122), (76, 92, 110)), cab=((160, 160, 154), (60, 74, 92)),
        bus=((150, 138, 74), (150, 60, 52), (168, 168, 160)),
        train=((150, 146, 96), (150, 54, 50), (112, 120, 128)),
        motorcycle=((40, 42, 44), (92, 34, 32), (110, 112, 112)),
        bicycle=((50, 52, 52), (96, 96, 92), (74, 44, 42)),
        helmet=((40, 42, 44), (150, 150, 146)), hood=((36, 40, 40),)),
    spread=0.3, tint=0.05, ambient=0.88, foliage=0.4, fog=(0.003, 0.014), fog_colour=(206, 214, 206),
    shadow=(0., 0.25), texture=(4., 8.), unevenness=(0.08, 0.25), blur=(0.2, 0.5), noise=(2., 5.),
    gamma=(0.95, 1.3), contrast=(0.8, 1.), saturation=(0.75, 1.), cast=(0.95, 1.03, 0.94),
    cast_spread=0.03, vignette=(0.1, 0.3), clouds=(0.5, 1.))

SYNTHIA = Style(
    palette=_COMMON | dict(
        sky_top=((120, 160, 190), (150, 170, 200), (226, 160, 120), (90, 100, 140)),
        sky_low=((200, 214, 220), (240, 210, 180), (160, 170, 190)), cloud=((235, 235, 240),),
        road=((70, 66, 70), (92, 84, 82), (60, 62, 70)), marking=((225, 220, 200),),
        rail=((150, 150, 150),), kerb=((170, 170, 170),),
        sidewalk=((150, 120, 110), (160, 140, 140), (120, 110, 120)),
        terrain=((150, 120, 110), (160, 140, 140), (120, 110, 120)),
        building=((190, 150, 120), (130, 90, 80), (200, 190, 160), (120, 120, 140), (170, 110, 90)),
        roof=((120, 80, 70), (80, 80, 90)), window=((90, 120, 150), (50, 60, 80)),
        shop=((60, 70, 90),), awning=((150, 60, 60), (80, 120, 120)), door=((80, 60, 50),),
        wall=((150, 140, 130), (180, 160, 130), (130, 90, 80)),
        fence=((110, 110, 100), (150, 140, 120)), fence_gap=((70, 76, 66),),
        pole=((96, 100, 96), (60, 66, 60)), housing=((50, 54, 40), (30, 30, 30)),
        vegetation=((76, 110, 50), (110, 130, 60), (60, 90, 60), (140, 120, 50)),
        trunk=((90, 70, 60),),
        clothes=((120, 60, 60), (60, 70, 120), (180, 170, 150), (60, 110, 110), (200, 150, 60)),
        trousers=((60, 60, 80), (40, 40, 40), (110, 90, 70)),
        car=((150, 30, 40), (60, 90, 150), (200, 200, 205), (90, 90, 95), (200, 170, 60),
             (60, 120, 110)),
        glass=((60, 76, 90),), truck=((200, 200, 200),), cab=((120, 60, 60),),
        bus=((190, 60, 60), (80, 120, 170), (210, 190, 110)), train=((180, 60, 60),),
        motorcycle=((120, 40, 40), (60, 60, 70)), bicycle=((120, 60, 60), (70, 80, 110)),
        helmet=((200, 200, 210), (60, 60, 60)), hood=((60, 62, 70),)),
    spread=0.15, ambient=0.95, foliage=0.18, fog=(0., 0.006), fog_colour=(190, 195, 205),
    unevenness=(0., 0.12), texture=(1.5, 4.), noise=(0.5, 2.), gamma=(0.85, 1.25),
    saturation=(0.8, 1.1), cast_spread=0.06, blur=(0., 0.3), clouds=(0.1, 0.9))


@dataclass(frozen=True)
class Domain:
    """A data set: where its streets lie and how they look."""

    layout: Layout
    style: Style
    native: tuple[int, int]  # width and height that the real set has after the pipelines' resize


_FEW = dict(train=0., truck=0., bus=0.2, motorcycle=0.25, bicycle=0.35, light=0.4, sign=0.75,
            wall=0.5, fence=0.5)

DOMAINS = dict(
    gta=Domain(Layout(aspect=1280 / 720, traffic=0.3, pitch=(-0.07, 0.03)), GTA, (1280, 720)),
    synthia=Domain(
        Layout(aspect=1280 / 760, camera_height=(1.2, 7.), pitch=(-0.02, 0.35), yaw=0.3,
               focal=(1., 1.5), terrain=0., storeys=(3, 8), traffic=0.25, walkers=(4, 14),
               chances=_FEW), SYNTHIA, (1280, 760)),
    cityscapes=Domain(
        Layout(aspect=2., camera_height=(1.2, 1.4), pitch=(0., 0.06), focal=(1.3, 1.5),
               sidewalk=(3., 5.5), storeys=(3, 6), traffic=0.38, walkers=(3, 10),
               hood=1.), CITYSCAPES, (1024, 512)))
