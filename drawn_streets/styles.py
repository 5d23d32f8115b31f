"""The three data sets as plain data: styles (colours, light, camera) and layouts of their streets.

`gta` is clean, saturated and sharp; `cityscapes` is its "real" counterpart with other colours, fog, texture and a worse
camera; `synthia` has a third palette, flat light, and a camera anywhere between the ground and the roofs.
"""

from dataclasses import dataclass

from .scene import Layout, Scene

RGB = tuple[int, int, int]
Range = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Style:
    """Colours, light, and the camera's flaws; a value is drawn from each range for every image."""

    palette: dict[str, str]  # hexadecimal RGB colours by name, several to choose from
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

    def colour(self, name: str, pick: float = 0.5, tone: float = 0.5, hue: float = 0.5) -> Colour:
        """A colour for uniform numbers in 0..1 that select the anchor, the brightness and the tint."""
        anchors = self.palette[name].split()
        red, green, blue = bytes.fromhex(anchors[int(pick * len(anchors)) % len(anchors)])
        bright, shift = 1 + self.spread * (2 * tone - 1), self.tint * (2 * hue - 1)
        return min(red * bright * (1 + shift), 255.), min(green * bright, 255.), min(blue * bright * (1 - shift), 255.)

    def brightness(self, scene: Scene, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface with this normal: `ambient` in the shade, about 1 in the sun."""
        lit = max(sum(n * s for n, s in zip(normal, scene.to_sun, strict=True)), 0.)
        return self.ambient + (1.08 - self.ambient) * lit


_COMMON = dict(
    skin='e0ac8c be8264 78503c', hair='281e19 5a3c1e aa8246', tyre='1c1c1e', red='c81e1e', blue='1e50b4',
    yellow='ebc828', white='f0f0f0', black='141416', lamp_off='37322d', bin='3c5046 5a5a5f')

GTA = Style(
    palette=_COMMON | dict(
        sky_top='3a78cd 508cd7 466ebe', sky_low='b2d4f0 cddeec f0d6b4', cloud='fcfcfc',
        road='585960 4e5058 626062', marking='eeeee6', rail='aaacb2', kerb='bebab2',
        sidewalk='bab0a0 c6beb0 aca49c', terrain='78a83e 8cac46 b0a260',
        building='ce845c e2c494 b05042 d6cec4 96a8be e8d8b0', roof='964634 6e3e32 5c585c',
        window='46648c 3c5270', shop='2e3e50', awning='be2828 286e46 284696', door='603c24 3c3232',
        wall='c4baaa ac6c54 a0a0a4', fence='ceba96 7e5c3e 5c6870', fence_gap='546046', pole='70747a 545a60',
        housing='222426', vegetation='3e802c 549234 307034 709830', trunk='684a30',
        clothes='c82828 285ab4 f0dc50 f5f5f5 1e825a dc78b4', trousers='28345c 1e1e22 968264',
        car='c41a1e 184caa f0f0f0 fabe1e 1e2024 1e8250', glass='2e3e4e', truck='e8e8e4 d6781e 326ea0',
        cab='c82824 285aaa', bus='f0be14 d22c28 3c965a', train='c81e28 e6e6e2 2864b4',
        motorcycle='be1e1e 1e3c96 28282a', bicycle='c83228 285aa0 3c3c40', helmet='e6e6e6 c82828 28282c',
        hood='3c3e46'),
    spread=0.12, ambient=0.72, fog=(0., 0.002), fog_colour=(205, 222, 238), shadow=(0.1, 0.3),
    contrast=(1., 1.08), saturation=(1.05, 1.2), noise=(0., 1.), gamma=(0.95, 1.05), clouds=(0.2, 0.8))

CITYSCAPES = Style(
    palette=_COMMON | dict(
        sky_top='beccd6 a8bed0 ced6da', sky_low='eceeec e4e8e8', cloud='f6f6f4', road='70706c 7c7a74 666866',
        marking='c0c2bc', rail='80807c', kerb='8e8c86', sidewalk='867e7a 928a82 787270',
        terrain='626e48 747450 566440', building='7a7062 9e9686 68544a aeaa9e 5c5e60 8c7a5c',
        roof='5c423a 464446', window='343a3c 545c60 788284', shop='2c3030 5c605a',
        awning='76322e 3c4c46 827860', door='42362e 323434', wall='706c64 868074 605046',
        fence='565a56 464a44 7c766a', fence_gap='5c6054', pole='5c605c 787a74 424644', housing='282c2a 46483c',
        vegetation='34462c 42502e 2a3c2c 545836', trunk='463e36',
        clothes='282a2e 46423e 343a4a 6e6052 863832 96948e', trousers='24262c 343842 544e44',
        car='2c2e32 969898 5c6062 bec0bc 283448 602422', glass='32383a 222628', truck='b0aea6 787c7a 4c5c6e',
        cab='a0a09a 3c4a5c', bus='968a4a 963c34 a8a8a0', train='969260 963632 707880',
        motorcycle='282a2c 5c2220 6e7070', bicycle='323434 60605c 4a2c2a', helmet='282a2c 969692', hood='242828'),
    spread=0.3, tint=0.05, ambient=0.88, foliage=0.4, fog=(0.003, 0.014), fog_colour=(206, 214, 206),
    shadow=(0., 0.25), texture=(4., 8.), unevenness=(0.08, 0.25), blur=(0.2, 0.5), noise=(2., 5.),
    gamma=(0.95, 1.3), contrast=(0.8, 1.), saturation=(0.75, 1.), cast=(0.95, 1.03, 0.94),
    cast_spread=0.03, vignette=(0.1, 0.3), clouds=(0.5, 1.))

SYNTHIA = Style(
    palette=_COMMON | dict(
        sky_top='78a0be 96aac8 e2a078 5a648c', sky_low='c8d6dc f0d2b4 a0aabe', cloud='ebebf0',
        road='464246 5c5452 3c3e46', marking='e1dcc8', rail='969696', kerb='aaaaaa',
        sidewalk='96786e a08c8c 786e78', terrain='96786e a08c8c 786e78',
        building='be9678 825a50 c8bea0 78788c aa6e5a', roof='785046 50505a', window='5a7896 323c50',
        shop='3c465a', awning='963c3c 507878', door='503c32', wall='968c82 b4a082 825a50',
        fence='6e6e64 968c78', fence_gap='464c42', pole='606460 3c423c', housing='323628 1e1e1e',
        vegetation='4c6e32 6e823c 3c5a3c 8c7832', trunk='5a463c', clothes='783c3c 3c4678 b4aa96 3c6e6e c8963c',
        trousers='3c3c50 282828 6e5a46', car='961e28 3c5a96 c8c8cd 5a5a5f c8aa3c 3c786e', glass='3c4c5a',
        truck='c8c8c8', cab='783c3c', bus='be3c3c 5078aa d2be6e', train='b43c3c', motorcycle='782828 3c3c46',
        bicycle='783c3c 46506e', helmet='c8c8d2 3c3c3c', hood='3c3e46'),
    spread=0.15, ambient=0.95, foliage=0.18, fog=(0., 0.006), fog_colour=(190, 195, 205),
    unevenness=(0., 0.12), texture=(1.5, 4.), noise=(0.5, 2.), gamma=(0.85, 1.25),
    saturation=(0.8, 1.1), cast_spread=0.06, blur=(0., 0.3), clouds=(0.1, 0.9))


@dataclass(frozen=True)
class Domain:
    """A data set: the layout of its streets, and their style."""

    layout: Layout
    style: Style
    native: tuple[int, int]  # width and height of the real set after the pipelines' resize


_FEW = dict(train=0., truck=0., bus=0.2, motorcycle=0.25, bicycle=0.35, light=0.4, sign=0.75, wall=0.5, fence=0.5)

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
