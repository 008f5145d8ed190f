"""Compiled kernels of the ray caster.

Every ray lies in a vertical plane. In that plane, with the earth a circle of (effective) radius 1 / k, ground distance
s, t = k s, S = sin(t) / k, V = (1 - cos(t)) / k and the camera at the origin at height c above the circle, terrain of
height h stands at

    X = (1 + k h) S              horizontally, and
    Y = (h - c) - (1 + k h) V    vertically;

it is above a ray of slope m exactly where Y - m X > 0. Some facts make the march exact and fast:

* In one cell the ground track is a straight line to 1 mm, so the bilinear surface is a parabola in s, and with it X
  and Y: the first intersection is the root of a quadratic. No step length, no tolerance, nothing to miss (``cells``).
* For terrain no higher than ``top``, Y - m X is bounded by a concave function of s. Where its tangent stays below zero
  the whole block of the pyramid of tops is stepped over (``blocks``).
* The height of a ray above sea level is convex, and within a few kilometres a parabola of s. In batches of pieces of
  two cells the tops of the blocks around them are compared with it, without a branch (``pieces``); only in pieces where
  terrain may reach it cells are looked at, in the order in which the track crosses the lines between posts (``walks``).

A ray goes through stretches: in each it sees one sheet, a level of detail of a layer (``tracks``). Level cameras need
one march for each image column (``level``). For others the surroundings are cut into sectors about as narrow as a pixel
(``sectors``, ``shapes``). Along each of them a march notes how the slope that no terrain exceeds so far grows with
distance (its envelope, ``envelopes``, ``entries``), where need be by all that lies between neighbouring lines of posts
(``runs``, ``slabs``). A ray of slope m starts where the envelope reaches m; one above all of it sees the sky
(``pitched``). The rays of an image column go through their first cells together, in vector code (``front``), and those
that meet nothing there go on alone.

Functions compute in float64; posts and images are float32. The decorators of ``compiled`` see to it that a change
in any of these modules has all of them compiled anew.
"""
